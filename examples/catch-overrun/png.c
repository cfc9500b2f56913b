/* SPDX-License-Identifier: MIT */
#include "png.h"

#include <stdbool.h>
#include <string.h>

#include "inflate.h"

#define MOST_PIXELS (64u << 20)

enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

struct chunk {
    const unsigned char *name, *data;
    size_t size;
};

struct reader {
    const unsigned char *file;
    size_t size, at;
    png_alloc *alloc;
    void *arg;
    struct png *png;
    const unsigned char *palette, *alpha; /* contents of the PLTE and tRNS chunks */
    size_t compressed;                    /* bytes in all IDAT chunks */
};

static uint32_t big_endian(const unsigned char *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t crc(const unsigned char *bytes, size_t size) {
    uint32_t value = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        value ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
    }
    return ~value;
}

static bool is(const struct chunk *chunk, const char *name) { return memcmp(chunk->name, name, 4) == 0; }

/* A chunk: 4 bytes of length, 4 of name, the data, 4 of checksum over name and data. */
static const char *next_chunk(struct reader *reader, struct chunk *chunk) {
    const unsigned char *at = reader->file + reader->at;
    size_t left = reader->size - reader->at;
    if (left < 12 || big_endian(at) > left - 12) return "the file is cut short";
    *chunk = (struct chunk){.name = at + 4, .data = at + 8, .size = big_endian(at)};
    if (crc(chunk->name, chunk->size + 4) != big_endian(chunk->data + chunk->size))
        return "a chunk's checksum is wrong";
    reader->at += chunk->size + 12;
    return NULL;
}

static const char *copy_chunk(struct reader *reader, const struct chunk *chunk, const char *what,
                              const unsigned char **out) {
    unsigned char *copy = reader->alloc(reader->arg, what, chunk->size);
    if (copy == NULL) return "no memory";
    memcpy(copy, chunk->data, chunk->size);
    *out = copy;
    return NULL;
}

/* ---- the chunks ---- */

static bool depth_is_allowed(unsigned depth, unsigned color) {
    switch (color) {
    case GREY: return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case PALETTE: return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case RGB:
    case GREY_ALPHA:
    case RGB_ALPHA: return depth == 8 || depth == 16;
    default: return false;
    }
}

static const char *read_header(struct reader *reader) {
    struct png *png = reader->png;
    struct chunk chunk;
    const char *error = next_chunk(reader, &chunk);
    if (error != NULL) return error;
    if (!is(&chunk, "IHDR") || chunk.size != 13) return "the header is missing";
    png->width = big_endian(chunk.data);
    png->height = big_endian(chunk.data + 4);
    png->depth = chunk.data[8];
    png->color = chunk.data[9];
    if (png->width == 0 || png->height == 0 || png->width > MOST_PIXELS / png->height)
        return "the size is out of range";
    if (!depth_is_allowed(png->depth, png->color)) return "there is no such combination of colour type and depth";
    if (chunk.data[10] != 0 || chunk.data[11] != 0) return "the compression or filter method is unknown";
    return chunk.data[12] != 0 ? "interlaced files are not read by this example" : NULL;
}

static const char *read_palette(struct reader *reader, const struct chunk *chunk) {
    size_t count = chunk->size / 3;
    if (reader->palette != NULL || chunk->size % 3 != 0 || count == 0 || count > 256) return "the palette is malformed";
    reader->png->palette_count = (unsigned)count;
    return copy_chunk(reader, chunk, "PLTE", &reader->palette);
}

/* In a palette image one byte of alpha for each entry, or for the first few: the specification, 11.3.1.1. */
static const char *read_alpha(struct reader *reader, const struct chunk *chunk) {
    if (reader->png->color != PALETTE) return NULL; /* one colour that is transparent: not looked at here */
    if (reader->alpha != NULL || chunk->size == 0 || chunk->size > reader->png->palette_count)
        return "the transparency is malformed";
    reader->png->alpha_count = (unsigned)chunk->size;
    return copy_chunk(reader, chunk, "tRNS", &reader->alpha);
}

static const char *read_chunks(struct reader *reader) {
    struct chunk chunk;
    const char *error;
    do {
        error = next_chunk(reader, &chunk);
        if (error != NULL) break;
        if (is(&chunk, "PLTE")) error = read_palette(reader, &chunk);
        else if (is(&chunk, "tRNS")) error = read_alpha(reader, &chunk);
        else if (is(&chunk, "IDAT")) reader->compressed += chunk.size;
    } while (error == NULL && !is(&chunk, "IEND"));
    if (error == NULL && reader->compressed == 0) error = "there is no pixel data";
    if (error == NULL && reader->png->color == PALETTE && reader->palette == NULL) error = "the palette is missing";
    return error;
}

/* The compressed data is one stream, cut into IDAT chunks anywhere. The chunks were checked before. */
static const unsigned char *join(struct reader *reader, size_t start) {
    unsigned char *joined = reader->alloc(reader->arg, "IDAT", reader->compressed), *to = joined;
    struct chunk chunk;
    reader->at = start;
    while (joined != NULL && next_chunk(reader, &chunk) == NULL && !is(&chunk, "IEND")) {
        if (!is(&chunk, "IDAT")) continue;
        memcpy(to, chunk.data, chunk.size);
        to += chunk.size;
    }
    return joined;
}

/* ---- pixels ---- */

static unsigned samples(const struct png *png) {
    static const unsigned char count[7] = {[GREY] = 1, [RGB] = 3, [PALETTE] = 1, [GREY_ALPHA] = 2, [RGB_ALPHA] = 4};
    return count[png->color];
}

static size_t row_size(const struct png *png) { return ((size_t)png->width * samples(png) * png->depth + 7) / 8; }

static int distance(int a, int b) { return a > b ? a - b : b - a; }

/* The specification, 9.4: left, above and above left. */
static int paeth(int a, int b, int c) {
    int guess = a + b - c;
    if (distance(guess, a) <= distance(guess, b) && distance(guess, a) <= distance(guess, c)) return a;
    return distance(guess, b) <= distance(guess, c) ? b : c;
}

/* Undoes one row's filter; before NULL: the first row. */
static bool unfilter(unsigned char *row, const unsigned char *before, size_t size, size_t pixel, unsigned filter) {
    if (filter > 4) return false;
    for (size_t i = 0; i < size; i++) {
        int left = i >= pixel ? row[i - pixel] : 0, up = before != NULL ? before[i] : 0;
        int corner = i >= pixel && before != NULL ? before[i - pixel] : 0, add = 0;
        if (filter == 1) add = left;
        if (filter == 2) add = up;
        if (filter == 3) add = (left + up) / 2;
        if (filter == 4) add = paeth(left, up, corner);
        row[i] = (unsigned char)(row[i] + add);
    }
    return true;
}

/* The transparency of a palette entry; those that the tRNS chunk does not reach are opaque. */
static unsigned palette_alpha(const struct reader *reader, unsigned index) {
    if (reader->alpha == NULL) return 255;
    return index <= reader->png->alpha_count ? reader->alpha[index] : 255; /* the planted bug: it should be < */
}

static unsigned sample(const unsigned char *row, size_t index, unsigned depth) {
    if (depth >= 8) return row[index * (depth / 8)]; /* of 16 bits the upper ones */
    size_t bit = index * depth;
    return row[bit / 8] >> (8 - depth - bit % 8) & ((1u << depth) - 1);
}

static const char *count_row(const struct reader *reader, const unsigned char *row) {
    struct png *png = reader->png;
    for (uint32_t x = 0; x < png->width; x++) {
        unsigned alpha = 255;
        if (png->color == GREY_ALPHA || png->color == RGB_ALPHA)
            alpha = sample(row, (x + (size_t)1) * samples(png) - 1, png->depth);
        if (png->color == PALETTE) {
            unsigned index = sample(row, x, png->depth);
            if (index >= png->palette_count) return "a pixel has a colour that is not in the palette";
            alpha = palette_alpha(reader, index);
        }
        if (alpha == 255) png->opaque++;
        else if (alpha == 0) png->clear++;
        else png->translucent++;
    }
    return NULL;
}

static const char *read_pixels(struct reader *reader, const unsigned char *compressed) {
    const struct png *png = reader->png;
    size_t size = row_size(png), pixel = samples(png) * png->depth / 8;
    unsigned char *rows = reader->alloc(reader->arg, "rows", (size + 1) * png->height);
    if (rows == NULL) return "no memory";
    const char *error = inflate_zlib(rows, (size + 1) * png->height, compressed, reader->compressed);
    for (uint32_t y = 0; y < png->height && error == NULL; y++) {
        unsigned char *row = rows + (size + 1) * y + 1; /* the byte before it is the filter's number */
        if (!unfilter(row, y > 0 ? row - size - 1 : NULL, size, pixel > 0 ? pixel : 1, row[-1]))
            return "a row has a filter that does not exist";
        error = count_row(reader, row);
    }
    return error;
}

const char *png_read(const unsigned char *file, size_t size, png_alloc *alloc, void *arg, struct png *png) {
    static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    struct reader reader = {.file = file, .size = size, .at = sizeof signature, .alloc = alloc, .arg = arg, .png = png};
    *png = (struct png){.width = 0};
    if (size < sizeof signature || memcmp(file, signature, sizeof signature) != 0) return "this is not a PNG file";
    const char *error = read_header(&reader);
    size_t chunks = reader.at;
    if (error == NULL) error = read_chunks(&reader);
    if (error != NULL) return error;
    const unsigned char *compressed = join(&reader, chunks);
    return compressed == NULL ? "no memory" : read_pixels(&reader, compressed);
}
