/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_TOOLS_COLOR_H
#define VMARENA_TOOLS_COLOR_H

#include <stdbool.h>

/* What --color=auto means: the descriptor is a terminal that has colours, and NO_COLOR is not set (no-color.org). */
bool vmarena_color_is_wanted(int fd);

#endif
