/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

const struct vmarena_guard_options vmarena_guard_defaults = {
    .align = 16,
    .max_size = SIZE_MAX,
    .sample = 1,
    .quarantine = 65536,
    .depth = 16,
    .exit_code = 99,
    .follow = 1,
};

#define AT(member) offsetof(struct vmarena_guard_options, member)
#define NUMBER(name, member, least, most, help)                                                                        \
    { name, VMARENA_OPTION_NUMBER, false, AT(member), least, most, NULL, help }
#define NOT_ONE_OF "is not one of "
#define CHOICE(name, member, words, help)                                                                              \
    { name, VMARENA_OPTION_CHOICE, false, AT(member), 0, 0, NOT_ONE_OF words, help }

const struct vmarena_option vmarena_guard_table[] = {
    CHOICE("side", side, "end|start|alternate|both",
           "which end of an object lies against its guard; both runs the program twice (default: end)"),
    {"align", VMARENA_OPTION_POWER, false, AT(align), 1, 4096, NULL,
     "alignment of malloc's results; 1 is exact to the byte, and some programs need 16 (default: 16)"},
    NUMBER("min-size", min_size, 0, SIZE_MAX, "guard objects of at least so many bytes (default: 0)"),
    NUMBER("max-size", max_size, 0, SIZE_MAX, "guard objects of at most so many bytes (default: no limit)"),
    NUMBER("sample", sample, 1, UINT32_MAX, "guard 1 in so many objects (default: 1, all)"),
    NUMBER("quarantine", quarantine, 0, (size_t)1 << 28,
           "keep the addresses of the last so many freed objects from being used again (default: 65536)"),
    NUMBER("quarantine-bytes", quarantine_bytes, 0, SIZE_MAX, "and at most so many bytes of addresses (default: 256G)"),
    CHOICE("reuse", reuse, "fifo|random", "the order in which freed addresses are used again (default: fifo)"),
    NUMBER("memory", memory, 0, SIZE_MAX, "most memory for guarded objects (default: 0, no cap)"),
    CHOICE("when-full", full, "unguarded|fail",
           "what an object over the cap gets: plain memory, counted, or NULL (default: unguarded)"),
    NUMBER("check", check, 0, SIZE_MAX,
           "check the slack of all objects every so many calls (default: 0, at the end only)"),
    NUMBER("depth", depth, 1, 64, "frames kept of each stack (default: 16)"),
    CHOICE("backend", backend, "auto|marker|userfault|protect",
           "guards by markers, userfaultfd or mprotect (default: auto, the first that works)"),
    CHOICE("follow", follow, "no|yes", "guard the programs that the program starts, too (default: yes)"),
    CHOICE("stop", stop, "no|yes", "end the program at the first error (default: no)"),
    CHOICE("syscalls", syscalls, "no|yes", "check the buffers given to read(2), write(2) and their kin (default: no)"),
    NUMBER("exit-code", exit_code, 0, 255, "the exit code when an error was found; 0: the program's own (default: 99)"),
    {"root", VMARENA_OPTION_NUMBER, true, AT(root), 0, SIZE_MAX, NULL, NULL},
    {"channel", VMARENA_OPTION_TEXT, true, AT(channel), 0, sizeof((struct vmarena_guard_options *)0)->channel, NULL,
     NULL},
};
const size_t vmarena_guard_table_size = sizeof vmarena_guard_table / sizeof vmarena_guard_table[0];

const char *vmarena_option_words(const struct vmarena_option *option) { return option->words + strlen(NOT_ONE_OF); }

const struct vmarena_option *vmarena_option_find(const char *name, size_t length) {
    for (size_t i = 0; i < vmarena_guard_table_size; i++) {
        const char *known = vmarena_guard_table[i].name;
        if (strlen(known) == length && memcmp(known, name, length) == 0) return &vmarena_guard_table[i];
    }
    return NULL;
}

static unsigned suffix_shift(char c) {
    static const char suffixes[] = "KMGT";
    const char *found = memchr(suffixes, c >= 'a' ? c - 32 : c, 4);
    return found == NULL ? 0 : 10 * (unsigned)(found - suffixes + 1);
}

static const char *parse_number(const char *value, size_t length, size_t *out) {
    size_t number = 0, i = 0;
    for (; i < length && value[i] >= '0' && value[i] <= '9'; i++)
        if (__builtin_mul_overflow(number, (size_t)10, &number) ||
            __builtin_add_overflow(number, (size_t)(value[i] - '0'), &number))
            return "is too large";
    unsigned shift = i > 0 && i + 1 == length ? suffix_shift(value[i]) : 0;
    if (shift != 0) i++;
    if (i == 0 || i != length) return "takes a number, such as 512, 64K or 2G";
    if (number > SIZE_MAX >> shift) return "is too large";
    *out = number << shift;
    return NULL;
}

static const char *parse_choice(const struct vmarena_option *option, const char *value, size_t length, size_t *out) {
    size_t index = 0;
    for (const char *word = vmarena_option_words(option);; index++) {
        size_t end = strcspn(word, "|");
        if (end == length && memcmp(word, value, length) == 0) {
            *out = index;
            return NULL;
        }
        if (word[end] == '\0') return option->words;
        word += end + 1;
    }
}

static size_t *number_of(struct vmarena_guard_options *options, const struct vmarena_option *option) {
    return (size_t *)(void *)((char *)options + option->offset);
}

static const char *set_number(size_t *number, const struct vmarena_option *option, const char *value, size_t length) {
    size_t parsed;
    const char *why = parse_number(value, length, &parsed);
    if (why != NULL) return why;
    if (parsed < option->least) return "is too small";
    if (parsed > option->most) return "is too large";
    if (option->type == VMARENA_OPTION_POWER && (parsed & (parsed - 1)) != 0) return "takes a power of two";
    *number = parsed;
    return NULL;
}

bool vmarena_option_set(struct vmarena_guard_options *options, const struct vmarena_option *option, const char *value,
                        size_t length, const char **why) {
    if (option->type == VMARENA_OPTION_TEXT) {
        char *text = (char *)options + option->offset;
        if (length >= option->most) return *why = "is too long", false;
        memcpy(text, value, length);
        text[length] = '\0';
        return true;
    }
    if (option->type == VMARENA_OPTION_CHOICE) *why = parse_choice(option, value, length, number_of(options, option));
    else *why = set_number(number_of(options, option), option, value, length);
    return *why == NULL;
}

static bool parse_piece(struct vmarena_guard_options *options, const char *piece, size_t length, const char **why) {
    const char *equals = memchr(piece, '=', length);
    size_t name = equals == NULL ? length : (size_t)(equals - piece);
    const struct vmarena_option *option = vmarena_option_find(piece, name);
    *why = "there is no such option";
    if (option == NULL) return false;
    *why = "takes a value: name=value";
    if (equals == NULL) return false;
    return vmarena_option_set(options, option, equals + 1, length - name - 1, why);
}

bool vmarena_options_parse(struct vmarena_guard_options *options, const char *text, const char **bad,
                           size_t *bad_length, const char **why) {
    bool good = true;
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        const char *reason;
        if (length > 0 && !parse_piece(options, text, length, &reason) && good) {
            good = false;
            *bad = text;
            *bad_length = length;
            *why = reason;
        }
        text += length + (text[length] == ',');
    }
    return good;
}

static void print_word(struct vmarena_text *out, const char *words, size_t index) {
    for (; index > 0; index--) words += strcspn(words, "|") + 1;
    for (size_t i = 0, end = strcspn(words, "|"); i < end; i++) vmarena_text_char(out, words[i]);
}

size_t vmarena_options_print(const struct vmarena_guard_options *options, char *text, size_t size) {
    struct vmarena_text out = {.start = text, .size = size};
    for (size_t i = 0; i < vmarena_guard_table_size; i++) {
        const struct vmarena_option *option = &vmarena_guard_table[i];
        const char *here = (const char *)options + option->offset;
        const char *standard = (const char *)&vmarena_guard_defaults + option->offset;
        bool is_text = option->type == VMARENA_OPTION_TEXT;
        if (is_text ? *here == '\0' : memcmp(here, standard, sizeof(size_t)) == 0) continue;
        if (out.length > 0) vmarena_text_char(&out, ',');
        vmarena_text_add(&out, option->name);
        vmarena_text_char(&out, '=');
        size_t number = 0;
        if (!is_text) memcpy(&number, here, sizeof number);
        if (is_text) vmarena_text_add(&out, here);
        else if (option->type == VMARENA_OPTION_CHOICE) print_word(&out, vmarena_option_words(option), number);
        else vmarena_text_decimal(&out, number);
    }
    vmarena_text_end(&out);
    return out.length;
}
