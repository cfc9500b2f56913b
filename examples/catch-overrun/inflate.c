/* SPDX-License-Identifier: MIT */
#include "inflate.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MAX_BITS 15

/* Once something is wrong, `error` says what, and everything else becomes a no-op: the loops look at it. */
struct stream {
    const unsigned char *from, *from_end;
    unsigned char *start, *to, *to_end;
    uint32_t bits;
    unsigned bit_count;
    const char *error;
};

static unsigned take(struct stream *stream, unsigned count) {
    while (stream->bit_count < count) {
        if (stream->from == stream->from_end) {
            stream->error = "the compressed data is cut short";
            return 0;
        }
        stream->bits |= (uint32_t)*stream->from++ << stream->bit_count;
        stream->bit_count += 8;
    }
    unsigned value = stream->bits & ((1u << count) - 1);
    stream->bits >>= count;
    stream->bit_count -= count;
    return value;
}

static void put(struct stream *stream, unsigned char byte) {
    if (stream->to == stream->to_end) stream->error = "there is more pixel data than the header allows";
    else *stream->to++ = byte;
}

/* ---- Huffman codes: RFC 1951, 3.2.2. In order of length, then of value, the codes of one length are consecutive. ---- */

struct code {
    uint16_t count[MAX_BITS + 1]; /* codes of each length */
    uint16_t symbol[288];         /* in order of their codes */
};

static bool make_code(struct code *code, const unsigned char *lengths, unsigned symbols) {
    uint16_t at[MAX_BITS + 1];
    int left = 1;
    memset(code->count, 0, sizeof code->count);
    for (unsigned i = 0; i < symbols; i++) code->count[lengths[i]]++;
    code->count[0] = 0;
    at[0] = at[1] = 0;
    for (unsigned length = 1; length <= MAX_BITS; length++) {
        left = left * 2 - code->count[length];
        if (left < 0) return false;
        if (length < MAX_BITS) at[length + 1] = (uint16_t)(at[length] + code->count[length]);
    }
    for (unsigned i = 0; i < symbols; i++)
        if (lengths[i] != 0) code->symbol[at[lengths[i]]++] = (uint16_t)i;
    return true;
}

static unsigned decode(struct stream *stream, const struct code *code) {
    unsigned value = 0, first = 0, index = 0;
    for (unsigned length = 1; length <= MAX_BITS && stream->error == NULL; length++) {
        value |= take(stream, 1);
        unsigned count = code->count[length];
        if (value - first < count) return code->symbol[index + value - first];
        index += count;
        first = (first + count) << 1;
        value <<= 1;
    }
    if (stream->error == NULL) stream->error = "the compressed data holds a code that stands for nothing";
    return 0;
}

/* ---- the three kinds of block ---- */

static void stored(struct stream *stream) {
    (void)take(stream, stream->bit_count & 7);
    unsigned length = take(stream, 16), check = take(stream, 16);
    if (stream->error == NULL && (length ^ check) != 0xffff) stream->error = "a stored block's length is wrong";
    while (length-- > 0 && stream->error == NULL) put(stream, (unsigned char)take(stream, 8));
}

static void copy_back(struct stream *stream, size_t distance, unsigned length) {
    if (distance > (size_t)(stream->to - stream->start))
        stream->error = "the compressed data refers to before its start";
    while (length-- > 0 && stream->error == NULL) put(stream, stream->to[-(ptrdiff_t)distance]);
}

static void coded(struct stream *stream, const struct code *literals, const struct code *distances) {
    static const uint16_t length_base[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                             31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const unsigned char length_bits[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                                  2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    static const uint16_t distance_base[30] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                               33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                               1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
    for (;;) {
        unsigned symbol = decode(stream, literals);
        if (stream->error != NULL || symbol == 256) return;
        if (symbol < 256) {
            put(stream, (unsigned char)symbol);
            continue;
        }
        if (symbol > 285) break;
        unsigned length = length_base[symbol - 257] + take(stream, length_bits[symbol - 257]);
        unsigned far = decode(stream, distances);
        if (far > 29) break;
        copy_back(stream, distance_base[far] + take(stream, far < 4 ? 0 : far / 2 - 1), length);
    }
    stream->error = "the compressed data holds a length or a distance that does not exist";
}

static void with_fixed_codes(struct stream *stream) {
    struct code literals, distances;
    unsigned char lengths[288];
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    (void)make_code(&literals, lengths, 288);
    memset(lengths, 5, 30);
    (void)make_code(&distances, lengths, 30);
    coded(stream, &literals, &distances);
}

/* The code lengths are themselves coded, with runs: RFC 1951, 3.2.7. */
static void read_lengths(struct stream *stream, const struct code *code, unsigned char *lengths, unsigned count) {
    for (unsigned i = 0; i < count && stream->error == NULL;) {
        unsigned symbol = decode(stream, code), times = 1;
        unsigned char length = (unsigned char)symbol;
        if (symbol == 16) {
            if (i == 0) stream->error = "the compressed data repeats nothing";
            length = i == 0 ? 0 : lengths[i - 1];
            times = 3 + take(stream, 2);
        } else if (symbol > 16) {
            length = 0;
            times = symbol == 17 ? 3 + take(stream, 3) : 11 + take(stream, 7);
        }
        if (times > count - i) stream->error = "the compressed data has too many code lengths";
        while (times-- > 0 && stream->error == NULL) lengths[i++] = length;
    }
}

static void with_own_codes(struct stream *stream) {
    static const unsigned char order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    unsigned char lengths[288 + 32] = {0};
    struct code code, distances;
    unsigned literal_count = take(stream, 5) + 257, distance_count = take(stream, 5) + 1, count = take(stream, 4) + 4;
    for (unsigned i = 0; i < count; i++) lengths[order[i]] = (unsigned char)take(stream, 3);
    bool good = literal_count <= 286 && distance_count <= 30 && make_code(&code, lengths, 19);
    if (good && stream->error == NULL) read_lengths(stream, &code, lengths, literal_count + distance_count);
    if (stream->error != NULL) return;
    good = good && make_code(&code, lengths, literal_count) &&
           make_code(&distances, lengths + literal_count, distance_count);
    if (good) coded(stream, &code, &distances);
    else stream->error = "the compressed data has impossible codes";
}

static uint32_t adler(const unsigned char *bytes, size_t size) {
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < size; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void check_sum(struct stream *stream, size_t to_size) {
    uint32_t sum = 0;
    (void)take(stream, stream->bit_count & 7);
    for (int i = 0; i < 4; i++) sum = sum << 8 | take(stream, 8);
    if (stream->error != NULL) return;
    if (stream->to != stream->to_end) stream->error = "there is less pixel data than the header announces";
    else if (sum != adler(stream->start, to_size)) stream->error = "the checksum of the pixel data is wrong";
}

const char *inflate_zlib(unsigned char *to, size_t to_size, const unsigned char *from, size_t from_size) {
    struct stream stream = {.from = from, .from_end = from + from_size, .start = to, .to = to, .to_end = to + to_size};
    unsigned method = take(&stream, 8), flags = take(&stream, 8);
    if (stream.error == NULL && ((method & 15) != 8 || (flags & 32) != 0 || (method * 256 + flags) % 31 != 0))
        stream.error = "this is not a zlib stream";
    for (bool last = false; !last && stream.error == NULL;) {
        last = take(&stream, 1) != 0;
        unsigned kind = take(&stream, 2);
        if (stream.error != NULL) break;
        if (kind == 0) stored(&stream);
        else if (kind == 1) with_fixed_codes(&stream);
        else if (kind == 2) with_own_codes(&stream);
        else stream.error = "the compressed data has a block of no kind";
    }
    if (stream.error == NULL) check_sum(&stream, to_size);
    return stream.error;
}
