/* SPDX-License-Identifier: MIT */
/*
 * A heap against a model of it: the input chooses the options, then a series of calls. Whatever comes, an object holds
 * what was written to it, lies where its side and alignment say, faults where it ends and after it was freed, and each
 * wrong call gives the error that belongs to it.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmarena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, vmarena_explain());                     \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct input {
    const uint8_t *data;
    size_t size;
};

static unsigned take(struct input *input) {
    if (input->size == 0) return 0;
    input->size--;
    return *input->data++;
}

#define OBJECTS 32
struct object {
    unsigned char *start;
    size_t size, align;
    unsigned char seed;
    bool live; /* otherwise it was freed, or never was */
};

struct model {
    struct vmarena_heap *heap;
    struct object objects[OBJECTS];
    size_t live, bytes, quarantine;
    size_t errors; /* that the heap should have counted */
};

static unsigned char byte_at(const struct object *object, size_t i) { return (unsigned char)(object->seed + i * 13); }

static void fill(struct object *object, unsigned seed) {
    object->seed = (unsigned char)seed;
    size_t step = object->size > 4096 ? 509 : 1;
    for (size_t i = 0; i < object->size; i += step) object->start[i] = byte_at(object, i);
}

static void check(const struct object *object, size_t size) {
    size_t step = object->size > 4096 ? 509 : 1;
    for (size_t i = 0; i < size; i += step) MUST(object->start[i] == byte_at(object, i));
}

static void touch(void *address) { *(volatile unsigned char *)address = 1; }

static void must_fault(struct model *model, unsigned char *address, const struct object *object,
                       enum vmarena_fault_kind kind, ptrdiff_t distance) {
    struct vmarena_fault fault;
    MUST(vmarena_try(touch, address, &fault) == 1);
    MUST(fault.address == address && fault.owner == model->heap);
    MUST(fault.object == object->start && fault.object_size == object->size);
    MUST(fault.kind == kind && fault.distance == distance);
}

/* Sizes at the edges of pages and classes, and any other. */
static size_t take_size(struct input *input) {
    unsigned kind = take(input), value = take(input);
    size_t page = vmarena_page_size();
    if (kind < 96) return value;
    if (kind < 160) return (kind - 96) * page / 4 + value % 3;
    if (kind < 250) return (size_t)value * 37;
    return (size_t)value << 12;
}

static void find_it(struct model *model, struct object *object) {
    struct vmarena_heap_object found;
    MUST(vmarena_heap_find(model->heap, object->start, &found) == 0);
    MUST(found.start == object->start && found.size == object->size && found.state == VMARENA_HEAP_LIVE);
    MUST(found.align == object->align && (uintptr_t)object->start % object->align == 0);
    MUST(found.slack_before + found.size + found.slack_after == vmarena_page_round_up(object->size));
    if (found.side == VMARENA_HEAP_END && object->align <= vmarena_page_size()) MUST(found.slack_after < object->align);
    if (found.side == VMARENA_HEAP_START) MUST(found.slack_before == 0);
    if (found.side == VMARENA_HEAP_END || object->size == 0)
        must_fault(model, object->start + object->size + found.slack_after, object, VMARENA_FAULT_OVERRUN,
                   (ptrdiff_t)found.slack_after + 1);
    else must_fault(model, object->start - 1, object, VMARENA_FAULT_UNDERRUN, -1);
}

static void allocate(struct model *model, struct object *object, struct input *input) {
    if (object->live) return;
    object->size = take_size(input);
    unsigned shift = take(input) % 16;
    object->align = (size_t)1 << shift;
    object->start = vmarena_heap_alloc(model->heap, object->size, object->align);
    MUST(object->start != NULL);
    for (size_t i = 0; i < object->size; i += 61) MUST(object->start[i] == 0);
    object->live = true;
    model->live++;
    model->bytes += object->size;
    fill(object, take(input));
    find_it(model, object);
}

static void free_it(struct model *model, struct object *object) {
    if (!object->live) return;
    check(object, object->size);
    MUST(vmarena_heap_free_sized(model->heap, object->start, object->size, object->align) == 0);
    object->live = false;
    model->live--;
    model->bytes -= object->size;
    if (object->size != 0) must_fault(model, object->start, object, VMARENA_FAULT_USE_AFTER_FREE, 0);
    MUST(vmarena_heap_free(model->heap, object->start) == -EALREADY);
    model->errors++;
}

static void resize(struct model *model, struct object *object, struct input *input) {
    if (!object->live) return;
    struct object old = *object;
    object->size = take_size(input);
    object->start = vmarena_heap_realloc(model->heap, old.start, object->size);
    MUST(object->start != NULL);
    /* Filled at the step of the old size: what both have is checked by that. */
    struct object moved = {object->start, old.size, old.align, old.seed, true};
    check(&moved, old.size < object->size ? old.size : object->size);
    model->bytes += object->size - old.size;
    if (object->start != old.start && old.size != 0)
        must_fault(model, old.start, &old, VMARENA_FAULT_USE_AFTER_FREE, 0);
    fill(object, take(input));
    find_it(model, object);
}

static void damage(struct model *model, struct object *object, struct input *input) {
    struct vmarena_heap_object found;
    unsigned where = take(input);
    if (!object->live) return;
    MUST(vmarena_heap_find(model->heap, object->start, &found) == 0);
    unsigned char *bad = NULL;
    if (where % 2 == 0 && found.slack_before != 0) bad = object->start - 1 - where % found.slack_before;
    if (where % 2 == 1 && found.slack_after != 0) bad = object->start + object->size + where % found.slack_after;
    if (bad == NULL) return;
    *bad = (unsigned char)(*bad ^ (1u << where % 8));
    MUST((where & 64 ? vmarena_heap_check(model->heap) : vmarena_heap_check_object(model->heap, object->start)) ==
         -EILSEQ);
    model->errors++;
    MUST(vmarena_heap_check(model->heap) == 0);
}

static void free_inside(struct model *model, struct object *object, struct input *input) {
    size_t offset = take(input);
    if (!object->live || object->size < 2) return;
    offset = 1 + offset % (object->size - 1);
    MUST(vmarena_heap_free(model->heap, object->start + offset) == -EINVAL);
    MUST(vmarena_heap_realloc(model->heap, object->start + offset, 10) == NULL);
    MUST(vmarena_heap_usable_size(model->heap, object->start + offset) == 0);
    model->errors += 2;
}

static void step(struct model *model, struct input *input) {
    unsigned what = take(input);
    struct object *object = &model->objects[take(input) % OBJECTS];
    switch (what % 8) {
    case 0:
    case 1:
    case 2: allocate(model, object, input); break;
    case 3:
    case 4: free_it(model, object); break;
    case 5: resize(model, object, input); break;
    case 6: damage(model, object, input); break;
    default: free_inside(model, object, input);
    }
    struct vmarena_heap_stats stats;
    vmarena_heap_stats(model->heap, &stats);
    MUST(stats.live == model->live && stats.live_bytes == model->bytes && stats.errors == model->errors);
    MUST(stats.quarantined <= model->quarantine);
}

static struct vmarena_heap_options take_options(struct input *input) {
    static const size_t counts[] = {1, 3, 10, 1000};
    unsigned bits = take(input), more = take(input);
    return (struct vmarena_heap_options){.side = (enum vmarena_heap_side)(bits % 3),
                                         .reuse = (enum vmarena_heap_reuse)(bits >> 2 & 1),
                                         .guard_kind = bits & 8 ? VMARENA_GUARD_PROTECT : VMARENA_GUARD_AUTO,
                                         .guard = (bits >> 4 & 3) * vmarena_page_size(),
                                         .quarantine_count = counts[more & 3],
                                         .check_interval = more & 4 ? 5 : 0,
                                         .flags = more & 8 ? VMARENA_HEAP_NO_STACKS : 0,
                                         .stack_depth = more >> 4};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    struct model model = {.live = 0};
    struct vmarena_heap_options options = take_options(&input);
    model.quarantine = options.quarantine_count;
    MUST(vmarena_heap_create(&model.heap, &options) == 0);
    while (input.size > 0) step(&model, &input);
    for (size_t i = 0; i < OBJECTS; i++) free_it(&model, &model.objects[i]);
    MUST(vmarena_heap_check(model.heap) == 0);
    vmarena_heap_destroy(model.heap);
    return 0;
}
