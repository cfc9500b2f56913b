/* SPDX-License-Identifier: MIT */
/*
 * Arena operations, bump and fenced, good and bad, against a model that knows where each object must lie, what it must
 * hold, which marks are still good and which guards must fault. An input is a list of operations, a byte each, with
 * their arguments behind.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmarena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\nthe last failure told of: %s\n", __FILE__, __LINE__, #condition,               \
                    vmarena_explain());                                                                                \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* ---- the input --------------------------------------------------------------------------------------------------- */

static const uint8_t *input, *input_end;

static unsigned take(void) { return input < input_end ? *input++ : 0; }
static unsigned take_two(void) {
    unsigned low = take();
    return low | take() << 8;
}

/* Most are small; some lie around pages, fill what is left, or wrap around the address space. */
static size_t take_size(size_t page, size_t left) {
    unsigned kind = take();
    switch (kind % 8) {
    case 0: return take_two() & 0x3f;
    case 1: return take();
    case 2: return page * (kind >> 4) + take() - 128;
    case 3: return take_two();
    case 4: return left + take() - 128;
    case 5: return (size_t)0 - take_two();
    case 6: return SIZE_MAX >> (take() & 63);
    default: return take() % 24 + 1;
    }
}

static size_t take_align(void) {
    unsigned kind = take();
    if (kind >= 250) return take_two();
    if (kind >= 240) return (size_t)1 << (take() & 63);
    return (size_t)1 << kind % 14;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

#define ALL_FLAGS                                                                                                      \
    (VMARENA_LOCK | VMARENA_DONT_DUMP | VMARENA_DONT_FORK | VMARENA_WIPE_ON_FORK | VMARENA_PREFAULT |                  \
     VMARENA_ALLOW_EXEC)
#define OBJECTS 128
#define MARKS 8
#define GHOSTS 8
#define SCOPES 16
#define REWINDS 60 /* of the 64 that an arena remembers */

struct object {
    unsigned char *at;
    size_t size, align;
    unsigned char seed;
    bool known;                /* holds the pattern of its seed */
    unsigned char *hurt, held; /* the byte of its slack that was overwritten, and what it held; NULL: none */
};

struct known_mark {
    struct vmarena_mark mark;
    size_t used;
    bool taken, good;
};

static struct model {
    struct vmarena *arena;
    struct vmarena_options options;
    struct vmarena_stats stats; /* as it was made */
    unsigned char *base;
    size_t page, used;
    unsigned prot, prots[SCOPES], depth;
    struct object objects[OBJECTS]; /* in the order of addresses */
    size_t count, rewinds, ghost_count;
    unsigned char *ghosts[GHOSTS]; /* where objects were that are gone */
    struct known_mark marks[MARKS];
} m;

static bool fenced(void) { return m.options.fence != VMARENA_FENCE_OFF; }
static bool readable(void) { return (m.prot & VMARENA_READ) != 0; }
static bool writable(void) { return (m.prot & VMARENA_WRITE) != 0; }

/* Under ASan the objects of a bump arena have red zones: addresses are then taken as they come. */
static bool exact(void) { return fenced() || !m.stats.annotated; }

/* Committing may have to write, or to lock more than is allowed. */
static bool may_refuse(void) {
    return (m.options.flags & VMARENA_LOCK) || (!writable() && (m.options.flags & VMARENA_PREFAULT));
}

static size_t round_to(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }
static size_t offset_of(const unsigned char *at) { return (size_t)(at - m.base); }
static size_t slack_of(const struct object *object) { return round_to(object->size, m.page) - object->size; }

static unsigned char *pages_start(const struct object *object) {
    return (unsigned char *)((uintptr_t)object->at & ~(uintptr_t)(m.page - 1));
}
static unsigned char *pages_end(const struct object *object) {
    return pages_start(object) + round_to(object->size, m.page);
}

static struct object *pick(void) { return m.count != 0 ? &m.objects[take() % m.count] : NULL; }

/* ---- contents ---------------------------------------------------------------------------------------------------- */

static unsigned char pattern(const struct object *object, size_t i) { return (unsigned char)(object->seed + i * 7); }

static void fill(struct object *object) {
    object->known = readable() && writable();
    object->seed++;
    for (size_t i = 0; i < object->size && object->known; i++) object->at[i] = pattern(object, i);
}

static void verify(const struct object *object, size_t from, size_t to) {
    if (!object->known || !readable()) return;
    for (size_t i = from; i < to && i < object->size; i++) CHECK(object->at[i] == pattern(object, i));
}

static void verify_all(void) {
    for (size_t i = 0; i < m.count; i++) verify(&m.objects[i], 0, SIZE_MAX);
}

/* Their edges only, which is where mistakes would show first. */
static void verify_edges(void) {
    for (size_t i = 0; i < m.count; i++) {
        const struct object *object = &m.objects[i];
        verify(object, 0, 16);
        if (object->size > 16) verify(object, object->size - 16, SIZE_MAX);
    }
}

static void assert_zero(const unsigned char *from, size_t size) {
    for (size_t i = 0; i < size && readable(); i++) CHECK(from[i] == 0);
}

/* ---- what the arena must say ------------------------------------------------------------------------------------- */

/* After each operation. A mark costs nothing; the figures look into /proc. */
static void check_used(void) {
    size_t used = vmarena_mark(m.arena).cursor + 1 - (uintptr_t)m.base;
    if (exact()) CHECK(used == m.used);
    m.used = used;
}

static void check_stats(void) {
    struct vmarena_stats stats;
    vmarena_stats(m.arena, &stats);
    CHECK(stats.used == m.used && stats.used <= stats.peak && stats.peak <= stats.reserved);
    CHECK(stats.committed <= stats.reserved);
    CHECK(stats.prot == m.prot);
    CHECK(stats.objects == (fenced() ? m.count : 0));
}

/* Where an object must lie: false where it does not fit. *end: what is used afterwards. */
static bool place(size_t size, size_t align, unsigned char **at, size_t *end) {
    size_t unit = fenced() && align < m.page ? m.page : align, whole = size, capacity = m.stats.reserved;
    uintptr_t base = (uintptr_t)m.base, start = (base + m.used + unit - 1) & ~(uintptr_t)(unit - 1);
    if (start - base > capacity || size > capacity) return false;
    if (fenced()) whole = round_to(size, m.page) + m.stats.guard;
    if (whole > capacity - (start - base)) return false;
    *end = start - base + whole;
    if (m.options.fence == VMARENA_FENCE_END) start += (round_to(size, m.page) - size) & ~(align - 1);
    *at = (unsigned char *)start;
    return true;
}

static void enter(unsigned char *at, size_t size, size_t align, size_t end) {
    CHECK(((uintptr_t)at & (align - 1)) == 0 && vmarena_owns(m.arena, at) && vmarena_owns(m.arena, at + size - 1));
    struct object *object = &m.objects[m.count++];
    *object = (struct object){.at = at, .size = size, .align = align, .seed = (unsigned char)(size + m.count)};
    if (exact()) m.used = end;
    check_used();
    fill(object);
}

static void remember_ghost(unsigned char *at) { m.ghosts[m.ghost_count++ % GHOSTS] = at; }

/* Marks above are not good any more. */
static void go_below(size_t used) {
    for (size_t i = 0; i < MARKS; i++)
        if (m.marks[i].used > used) m.marks[i].good = false;
    m.rewinds++;
}

/* All from `used` on is gone. Whether slack was overwritten there. */
static bool forget_from(size_t used) {
    bool hurt = false;
    while (m.count != 0 && offset_of(m.objects[m.count - 1].at) >= used) {
        hurt = hurt || m.objects[m.count - 1].hurt != NULL;
        remember_ghost(m.objects[--m.count].at);
    }
    struct object *last = m.count != 0 ? &m.objects[m.count - 1] : NULL;
    if (!fenced() && last != NULL && offset_of(last->at) + last->size > used) last->size = used - offset_of(last->at);
    go_below(used);
    m.used = used;
    return hurt;
}

/* ---- operations: each leaves arena and model alike --------------------------------------------------------------- */

static void do_alloc(void) {
    unsigned how = take() % 4;
    size_t size = take_size(m.page, m.stats.reserved - m.used), align = take_align(), count = how == 3 ? take() : 1;
    unsigned char *expected = NULL, *got;
    size_t bytes, end = 0;
    if (m.count == OBJECTS) return;
    if (how == 0) got = vmarena_alloc(m.arena, size, align);
    else if (how == 1) got = vmarena_alloc_slow(m.arena, size, align);
    else if (how == 2) got = vmarena_alloc_zeroed(m.arena, size, align);
    else got = vmarena_alloc_array(m.arena, count, size, align);
    bool good = !__builtin_mul_overflow(size, count, &bytes) && bytes != 0 && align != 0 &&
                (align & (align - 1)) == 0 && align <= m.stats.reserved && (writable() || !fenced());
    bool fits = good && place(bytes, align, &expected, &end);
    bool refused = may_refuse() || (how == 2 && !writable()) || !exact();
    if (got == NULL) {
        CHECK(!fits || refused);
        check_used();
        return;
    }
    CHECK(fits && (got == expected || !exact()));
    if (how == 2) assert_zero(got, bytes);
    enter(got, bytes, align, end);
}

static void resize_fenced(struct object *object, size_t size) {
    unsigned char *expected = object->at, *got;
    size_t old = object->size, end = m.used, kept = old < size ? old : size;
    got = vmarena_resize(m.arena, object->at, old, size);
    bool stays = m.options.fence == VMARENA_FENCE_START && size != 0 && size <= old + slack_of(object) &&
                 round_to(size, m.page) == round_to(old, m.page);
    bool can = size != 0 && readable() && writable() && object->hurt == NULL;
    can = can && (stays || place(size, object->align, &expected, &end));
    if (got == NULL) {
        CHECK(!can || may_refuse());
        check_used();
        return;
    }
    CHECK(can && got == expected);
    struct object copy = *object;
    copy.at = got;
    verify(&copy, 0, kept);
    if (stays) {
        object->size = size;
        fill(object);
        return;
    }
    remember_ghost(object->at);
    memmove(object, object + 1, (size_t)(m.objects + m.count - (object + 1)) * sizeof *object);
    m.count--;
    enter(got, size, copy.align, end);
}

static void resize_bump(struct object *object, size_t size) {
    size_t old = object->size, kept = old < size ? old : size;
    size_t natural = (uintptr_t)object->at & (0 - (uintptr_t)object->at);
    bool last = offset_of(object->at) + old == m.used;
    unsigned char *expected = object->at, *got = vmarena_resize(m.arena, object->at, old, size);
    size_t end = m.used, align = natural < 16 ? natural : 16;
    bool can = size != 0;
    if (last) can = can && size <= m.stats.reserved - offset_of(object->at);
    else if (size > old) can = can && readable() && writable() && place(size, align, &expected, &end);
    if (got == NULL) {
        CHECK(!can || may_refuse() || !exact());
        check_used();
        return;
    }
    CHECK(can && (got == expected || !exact()));
    struct object copy = *object;
    copy.at = got;
    verify(&copy, 0, kept);
    if (got == object->at) {
        object->size = size;
        if (last) m.used = offset_of(got) + size;
        if (last && size < old) go_below(m.used);
        fill(object);
        return;
    }
    memmove(object, object + 1, (size_t)(m.objects + m.count - (object + 1)) * sizeof *object);
    m.count--;
    enter(got, size, align, end);
}

static void do_resize(void) {
    struct object *object = pick();
    size_t size = take_size(m.page, object != NULL ? m.stats.reserved - offset_of(object->at) : 0);
    if (object == NULL || m.rewinds >= REWINDS) return;
    if (fenced()) resize_fenced(object, size);
    else resize_bump(object, size);
    check_used();
}

static void do_bad_resize(void) {
    struct object *object = pick();
    size_t size = take() + 1u, wrong = take() + 1u;
    unsigned char local[4];
    CHECK(vmarena_resize(m.arena, local, sizeof local, size) == NULL);
    CHECK(vmarena_resize(m.arena, m.base - 1, 1, size) == NULL);
    CHECK(vmarena_resize(m.arena, m.base, m.stats.reserved + wrong, size) == NULL);
    CHECK(vmarena_resize(m.arena, m.base, SIZE_MAX - wrong, size) == NULL);
    if (object != NULL && fenced()) CHECK(vmarena_resize(m.arena, object->at, object->size + wrong, size) == NULL);
    if (object != NULL && fenced() && object->size > 1)
        CHECK(vmarena_resize(m.arena, object->at + 1, object->size - 1, size) == NULL);
    check_used();
}

static void do_mark(void) {
    struct known_mark *mark = &m.marks[take() % MARKS];
    *mark = (struct known_mark){vmarena_mark(m.arena), m.used, true, true};
}

static void rewind_to(const struct known_mark *mark) {
    int result = vmarena_rewind(m.arena, mark->mark);
    if (!mark->good) CHECK(result == -ESTALE);
    else if (mark->used == m.used) CHECK(result == 0);
    else CHECK(result == (forget_from(mark->used) ? -EILSEQ : 0));
}

static void do_rewind(void) {
    const struct known_mark *mark = &m.marks[take() % MARKS];
    if (!mark->taken || m.rewinds >= REWINDS) return;
    verify_edges();
    rewind_to(mark);
    check_used();
}

static void do_reset(void) {
    size_t keep = take_size(m.page, m.used);
    if (m.rewinds >= REWINDS) return;
    verify_edges();
    int result = vmarena_reset(m.arena, keep);
    CHECK(result == (forget_from(0) ? -EILSEQ : 0));
    check_used();
}

static bool is_hurt(void) {
    for (size_t i = 0; i < m.count; i++)
        if (m.objects[i].hurt != NULL) return true;
    return false;
}

static void do_check(void) {
    int result = vmarena_check(m.arena);
    if (!fenced()) CHECK(result == 0);
    else if (!readable()) CHECK(result == -EACCES);
    else CHECK(result == (is_hurt() ? -EILSEQ : 0));
    if (result == -EILSEQ) CHECK(strstr(vmarena_explain(), "slack overwritten: byte ") != NULL);
}

/* Overwrites a byte of an object's slack, or mends the one that was. */
static void do_hurt(void) {
    struct object *object = pick();
    size_t which = take_two();
    unsigned change = take();
    if (object == NULL || !fenced() || !readable() || !writable()) return;
    if (object->hurt != NULL) {
        *object->hurt = object->held;
        object->hurt = NULL;
    } else if (slack_of(object) != 0) {
        size_t before = (size_t)(object->at - pages_start(object));
        which %= slack_of(object);
        object->hurt = pages_start(object) + which + (which >= before ? object->size : 0);
        object->held = *object->hurt;
        *object->hurt = (unsigned char)(object->held ^ (change == 0 ? 1 : change));
    }
}

/* ---- protection -------------------------------------------------------------------------------------------------- */

static int expected_of(unsigned prot) {
    if (prot & ~7u) return -EINVAL;
    return (prot & VMARENA_EXEC) && !(m.options.flags & VMARENA_ALLOW_EXEC) ? -EACCES : 0;
}

static unsigned take_prot(void) {
    unsigned prot = take();
    return prot >= 240 ? prot : prot >= 200 ? prot & 7 : prot >= 128 ? prot & 3 : VMARENA_READ | VMARENA_WRITE;
}

static void do_protect(void) {
    unsigned how = take() % 3, prot = take_prot();
    int result;
    if (how == 0) {
        result = vmarena_protect(m.arena, prot);
        CHECK(result == expected_of(prot));
    } else if (how == 1) {
        result = vmarena_protect_push(m.arena, prot);
        CHECK(result == (m.depth == SCOPES ? -EOVERFLOW : expected_of(prot)));
        if (result == 0) m.prots[m.depth++] = m.prot;
    } else {
        result = vmarena_protect_pop(m.arena);
        CHECK(result == (m.depth == 0 ? -EINVAL : 0));
        if (result == 0) prot = m.prots[--m.depth];
    }
    if (result == 0) m.prot = prot;
    check_used();
}

static bool in_one_object(const unsigned char *start, size_t length) {
    for (size_t i = 0; i < m.count; i++) {
        const unsigned char *first = pages_start(&m.objects[i]), *end = pages_end(&m.objects[i]);
        if (start >= first && start < end && length <= (size_t)(end - start)) return true;
    }
    return false;
}

/* A range is protected, and the arena used so far as it does not touch the range; then the whole is as it was. */
static void do_protect_range(void) {
    size_t first = take() % 150, length = take() % 40 * m.stats.page_size, odd = take();
    unsigned prot = take_prot(), then = take();
    const struct known_mark *mark = &m.marks[take() % MARKS];
    unsigned char *start = m.base + (first - 10) * m.stats.page_size;
    if (odd < 8) start += odd;
    else if (odd < 16) length += odd - 8;
    size_t offset = (size_t)(start - m.base), capacity = m.stats.reserved, page = m.stats.page_size;
    bool good = (uintptr_t)start % page == 0 && length != 0 && length % page == 0 && offset <= capacity &&
                length <= capacity - offset;
    int expected = !good ? -EINVAL : expected_of(prot);
    if (expected == 0 && fenced() && !in_one_object(start, length)) expected = -EINVAL;
    int result = vmarena_protect_range(m.arena, start, length, prot);
    CHECK(result == expected || (expected == 0 && result != 0 && may_refuse()));
    check_used();
    if (result != 0) return;
    int checked = vmarena_check(m.arena);
    CHECK(checked == 0 || checked == -EACCES || (checked == -EILSEQ && is_hurt()));
    if (then % 2 == 0 && mark->taken && m.rewinds < REWINDS) rewind_to(mark);
    CHECK(vmarena_protect(m.arena, m.prot) == 0);
    check_used();
    verify_edges();
}

static void do_discard(void) {
    size_t first = take() % 150, length = take() % 40 * m.stats.page_size, odd = take(), page = m.stats.page_size;
    unsigned char *start = m.base + (first - 10) * page;
    if (odd < 8) start += odd;
    size_t offset = (size_t)(start - m.base), capacity = m.stats.reserved;
    bool good = (uintptr_t)start % page == 0 && length != 0 && offset <= capacity && length <= capacity - offset &&
                offset + length <= round_to(m.used, page) && !(m.options.flags & VMARENA_LOCK);
    int result = vmarena_discard(m.arena, start, length);
    CHECK(result == (fenced() ? -EOPNOTSUPP : good ? 0 : -EINVAL));
    check_used();
    for (size_t i = 0; i < m.count && result == 0; i++) {
        struct object *object = &m.objects[i];
        size_t from = object->at < start ? (size_t)(start - object->at) : 0;
        size_t to = start + length > object->at ? (size_t)(start + length - object->at) : 0;
        if (to > object->size) to = object->size;
        if (from >= to) continue;
        verify(object, 0, from);
        assert_zero(object->at + from, to - from);
        verify(object, to, SIZE_MAX);
        fill(object);
    }
}

static void do_prefault(void) {
    size_t bytes = take_size(m.page, m.stats.reserved - m.used);
    int result = vmarena_prefault(m.arena, bytes);
    if (fenced()) CHECK(result == -EOPNOTSUPP);
    else if (bytes > m.stats.reserved - m.used) CHECK(result == -ENOSPC);
    else CHECK(result == 0 || (result == -EACCES && !writable()) || may_refuse());
    check_used();
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

__attribute__((noinline, no_sanitize("address", "undefined"))) static void peek(void *address) {
    (void)*(volatile unsigned char *)address;
}

/* It faults, and the record names a live object at the distance it really has. */
static void assert_faults(unsigned char *address) {
    struct vmarena_fault fault;
    CHECK(vmarena_try(peek, address, &fault) == 1);
    CHECK(fault.address == address && fault.owner == m.arena && fault.access != VMARENA_ACCESS_WRITE);
    if (fault.kind == VMARENA_FAULT_USE_AFTER_FREE || (fenced() && m.count == 0)) return;
    unsigned char *start = fault.object, *end = start + fault.object_size;
    bool found = !fenced() && start == m.base && fault.object_size == m.used;
    for (size_t i = 0; i < m.count && !found; i++)
        found = start == m.objects[i].at && fault.object_size == m.objects[i].size;
    CHECK(found);
    ptrdiff_t distance = address < start ? address - start : address < end ? 0 : address - end + 1;
    CHECK(fault.distance == distance);
    if (distance > 0) CHECK(fault.kind == VMARENA_FAULT_OVERRUN || fault.kind == VMARENA_FAULT_PROTECTED);
    if (distance < 0) CHECK(fault.kind == VMARENA_FAULT_UNDERRUN);
}

static void do_fault(void) {
    unsigned which = take();
    const struct object *object = pick();
    assert_faults(m.base - 1);
    assert_faults(m.base + m.stats.reserved);
    if (!fenced() || object == NULL) return;
    assert_faults(pages_end(object) + which % m.page);
    assert_faults(pages_start(object) - 1 - which % m.page);
    if (!readable() && !writable() && !(m.prot & VMARENA_EXEC)) assert_faults(object->at);
}

static void do_ghost(void) {
    if (!fenced() || m.ghost_count == 0) return;
    unsigned char *at = m.ghosts[take() % (m.ghost_count < GHOSTS ? m.ghost_count : GHOSTS)];
    if (!in_one_object(at, 1)) assert_faults(at);
}

static void do_stats(void) { check_stats(); }

static void do_bad_calls(void) {
    static const struct vmarena_mark none;
    CHECK(vmarena_rewind(m.arena, none) == -EINVAL);
    CHECK(vmarena_alloc_slow(NULL, 1, 1) == NULL && vmarena_rewind(NULL, none) == -EBADF);
    CHECK(vmarena_create(NULL, NULL) == -EINVAL);
    CHECK(vmarena_resize(m.arena, NULL, take(), 0) == NULL);
    CHECK(!vmarena_owns(m.arena, &none) && !vmarena_owns(m.arena, NULL));
    check_used();
}

/* ---- one input --------------------------------------------------------------------------------------------------- */

static struct vmarena_options take_options(void) {
    static const char *const names[] = {NULL, "", "fuzz", "a name that is longer than thirty-one bytes are"};
    unsigned size = take(), kinds = take(), flags = take();
    size_t unit = size < 64 ? 1000 : size < 128 ? 8192 : 4096;
    struct vmarena_options options = {.reserve = ((size_t)(size & 63) + 1) * unit};
    if (size > 250) options.reserve = SIZE_MAX - take();
    options.commit = take() % 20 * (size_t)1111;
    options.guard = take() % 4 * (size_t)4000;
    options.fence = (enum vmarena_fence)(kinds % 3);
    if (flags >= 224) {
        options.huge = (enum vmarena_huge)(take() % 8);
        options.guard_kind = (enum vmarena_guard_kind)(take() % 5);
        options.commit_policy = (enum vmarena_commit_policy)(take() % 4);
        options.flags = take();
        options.flags = (options.flags & ALL_FLAGS) | (options.flags >= 240 ? 1u << 31 : 0);
    } else {
        options.guard_kind = (enum vmarena_guard_kind)(kinds >> 2 & 1 ? VMARENA_GUARD_PROTECT : VMARENA_GUARD_AUTO);
        options.commit_policy = (enum vmarena_commit_policy)((kinds >> 3) % 3);
        options.flags = flags & (VMARENA_DONT_DUMP | VMARENA_PREFAULT | VMARENA_ALLOW_EXEC);
    }
    options.name = names[kinds >> 6];
    return options;
}

static bool are_good(const struct vmarena_options *options) {
    bool forks = (options->flags & VMARENA_DONT_FORK) && (options->flags & VMARENA_WIPE_ON_FORK);
    bool huge = options->fence != VMARENA_FENCE_OFF && options->huge > VMARENA_HUGE_NEVER;
    return (unsigned)options->huge <= VMARENA_HUGE_1G && (unsigned)options->guard_kind <= VMARENA_GUARD_USERFAULT &&
           (unsigned)options->commit_policy <= VMARENA_COMMIT_PROTECT && !(options->flags & ~ALL_FLAGS) && !forks &&
           !huge;
}

static bool make(void) {
    m = (struct model){.options = take_options(), .prot = VMARENA_READ | VMARENA_WRITE};
    int error = vmarena_create(&m.arena, &m.options);
    if (error != 0) {
        bool size = m.options.reserve > SIZE_MAX / 2, locked = m.options.flags & VMARENA_LOCK;
        bool asks = m.options.guard_kind == VMARENA_GUARD_MARKER || m.options.guard_kind == VMARENA_GUARD_USERFAULT;
        bool refused = asks && m.options.fence != VMARENA_FENCE_OFF;
        CHECK(m.arena == NULL && vmarena_explain()[0] != '\0');
        CHECK(error == -EINVAL ? !are_good(&m.options)
                               : (error == -ENOMEM && size) || (error == -EOPNOTSUPP && refused) || locked);
        return false;
    }
    CHECK(are_good(&m.options));
    vmarena_stats(m.arena, &m.stats);
    m.page = vmarena_page_size();
    m.base = (unsigned char *)(vmarena_mark(m.arena).cursor + 1);
    CHECK(m.stats.reserved >= m.options.reserve && (uintptr_t)m.base % m.page == 0);
    check_stats();
    return true;
}

static void run(void) {
    static void (*const operations[])(void) = {
        do_alloc, do_alloc,   do_alloc,         do_alloc,   do_resize,   do_resize, do_mark,  do_rewind,
        do_reset, do_protect, do_protect_range, do_discard, do_prefault, do_check,  do_hurt,  do_fault,
        do_ghost, do_stats,   do_bad_resize,    do_mark,    do_rewind,   do_hurt,   do_fault, do_bad_calls,
    };
    for (int i = 0; i < 200 && input < input_end; i++)
        operations[take() % (sizeof operations / sizeof operations[0])]();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input = data;
    input_end = data + size;
    if (!make()) return 0;
    run();
    check_stats();
    verify_all();
    vmarena_destroy(m.arena);
    CHECK(vmarena_alloc(m.arena, 1, 1) == NULL && vmarena_check(m.arena) == -EBADF);
    vmarena_destroy(m.arena);
    return 0;
}
