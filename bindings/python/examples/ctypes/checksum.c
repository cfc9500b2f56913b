/* SPDX-License-Identifier: MIT */
/* A checksum with one step too many. */
#include <stddef.h>
#include <stdint.h>

uint32_t checksum(const uint8_t *bytes, size_t size) {
    uint32_t sum = 1;
    for (size_t i = 0; i <= size; i++) sum = sum * 31 + bytes[i];
    return sum;
}
