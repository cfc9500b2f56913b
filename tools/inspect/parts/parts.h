/* SPDX-License-Identifier: MIT */
/* The files beside this one, as strings (embed). */
#ifndef VMARENA_TOOLS_INSPECT_PARTS_H
#define VMARENA_TOOLS_INSPECT_PARTS_H

extern const char vmarena_picture_css[];  /* of the SVG: colours */
extern const char vmarena_patterns_svg[]; /* what it refers to */
extern const char vmarena_page_css[];     /* of the page around it */
extern const char vmarena_controls_html[];
extern const char vmarena_page_js[];

#endif
