/* SPDX-License-Identifier: MIT */
/* The files in this folder as strings, made by `embed`. */
#ifndef VMARENA_TOOLS_INSPECT_PARTS_H
#define VMARENA_TOOLS_INSPECT_PARTS_H

extern const char vmarena_picture_css[];  /* of the SVG: colours */
extern const char vmarena_patterns_svg[]; /* its patterns */
extern const char vmarena_page_css[];     /* of the HTML page around it */
extern const char vmarena_controls_html[];
extern const char vmarena_page_js[];

#endif
