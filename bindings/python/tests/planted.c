/* SPDX-License-Identifier: MIT */
/* Each is off by one, or wild, in its own way. */
#include <stddef.h>

unsigned sum_bytes(const unsigned char *bytes, size_t size) {
    unsigned sum = 0;
    for (size_t i = 0; i <= size; i++) sum += ((const volatile unsigned char *)bytes)[i];
    return sum;
}

void fill_bytes(unsigned char *bytes, size_t size, int value) {
    for (size_t i = 0; i <= size; i++) ((volatile unsigned char *)bytes)[i] = (unsigned char)value;
}

unsigned last_space(const unsigned char *bytes, size_t size) {
    const volatile unsigned char *at = bytes + size;
    while (*--at != ' ') continue;
    return (unsigned)(at - bytes);
}

void reverse_bytes(unsigned char *bytes, size_t size) { /* this one is right */
    for (size_t i = 0; i < size / 2; i++) {
        unsigned char byte = bytes[i];
        bytes[i] = bytes[size - 1 - i];
        bytes[size - 1 - i] = byte;
    }
}

int read_null(void) { return *(volatile int *)NULL; }

void add_arrays(const double *a, const double *b, double *sum, size_t count) {
    for (size_t i = 0; i <= count; i++) ((volatile double *)sum)[i] = a[i] + b[i];
}
