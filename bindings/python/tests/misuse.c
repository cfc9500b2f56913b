/* SPDX-License-Identifier: MIT */
/* Functions that misuse their own objects of malloc, each in its way. */
#include <stdlib.h>

static volatile char *object(size_t size) { return calloc(1, size); }

int use(size_t size) {
    volatile char *bytes = object(size);
    int byte = bytes[size - 1];
    free((void *)bytes);
    return byte;
}

int overrun(size_t size) {
    volatile char *bytes = object(size);
    int byte = bytes[size];
    free((void *)bytes);
    return byte;
}

int underrun(size_t size) {
    volatile char *bytes = object(size);
    int byte = bytes[-1];
    free((void *)bytes);
    return byte;
}

int use_after_free(size_t size) {
    volatile char *bytes = object(size);
    free((void *)bytes);
    return bytes[0];
}
