/* SPDX-License-Identifier: MIT */
#include "color.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool vmarena_color_is_wanted(int fd) {
    const char *terminal = getenv("TERM"), *refused = getenv("NO_COLOR");
    bool is_dumb = terminal != NULL && strcmp(terminal, "dumb") == 0;
    return isatty(fd) && (refused == NULL || *refused == '\0') && !is_dumb;
}
