/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stddef.h>
#include <string.h>

#include "escape.h"

#define RED "\033[1;31m"
#define BOLD "\033[1m"
#define GREEN "\033[32m"
#define YELLOW "\033[33m"
#define PLAIN "\033[0m"

static const char *const kind_names[] = {
    [VMARENA_REPORT_OVERRUN] = "overrun",
    [VMARENA_REPORT_UNDERRUN] = "underrun",
    [VMARENA_REPORT_USE_AFTER_FREE] = "use after free",
    [VMARENA_REPORT_DOUBLE_FREE] = "double free",
    [VMARENA_REPORT_INVALID_FREE] = "invalid free",
    [VMARENA_REPORT_INTERIOR_FREE] = "interior free",
    [VMARENA_REPORT_SLACK_BEFORE] = "slack overwritten",
    [VMARENA_REPORT_SLACK_AFTER] = "slack overwritten",
    [VMARENA_REPORT_SIZE_MISMATCH] = "size mismatch",
    [VMARENA_REPORT_ALIGN_MISMATCH] = "mismatched alignment",
    [VMARENA_REPORT_NULL_ACCESS] = "null access",
    [VMARENA_REPORT_WILD_ACCESS] = "wild access",
    [VMARENA_REPORT_UNNAMED_ACCESS] = "wild access",
};
static const char *const access_names[] = {"access", "read", "write", "execution"};
static const char *const call_names[] = {"access", "allocation", "free", "realloc", "check", "system call"};

static void add(struct vmarena_text *text, const char *string) { vmarena_text_add(text, string); }

/* A name of the program, its files or its symbols. */
static void add_foreign(struct vmarena_text *text, const char *name) {
    (void)vmarena_escape_terminal(text, name, SIZE_MAX);
}

static uint64_t magnitude(int64_t value) { return value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value; }

/* "a 24-byte object" */
static void add_object(struct vmarena_text *text, const struct vmarena_report *report) {
    add(text, report->freed ? "a freed " : "a ");
    vmarena_text_decimal(text, report->size);
    add(text, "-byte object");
}

/* "1 byte past the end of a 24-byte object"; inside it: "at offset 5 of ...". */
static void add_place(struct vmarena_text *text, const struct vmarena_report *report) {
    if (report->distance == 0) {
        add(text, "at offset ");
        vmarena_text_decimal(text, report->address - report->object);
        add(text, " of ");
    } else {
        vmarena_text_count(text, magnitude(report->distance), "byte");
        add(text, report->distance < 0 ? " before the start of " : " past the end of ");
    }
    add_object(text, report);
}

static void add_slack(struct vmarena_text *text, const struct vmarena_report *report) {
    vmarena_text_count(text, report->length, "byte");
    add(text, ", the first ");
    add_place(text, report);
    add(text, ", found in ");
    add(text, call_names[report->call]);
}

static void add_mismatch(struct vmarena_text *text, const struct vmarena_report *report, const char *what,
                         uint64_t actual) {
    add(text, "freed with ");
    add(text, what);
    vmarena_text_decimal(text, report->given);
    add(text, " what was allocated with ");
    add(text, what);
    vmarena_text_decimal(text, actual);
}

static void add_pointer(struct vmarena_text *text, const struct vmarena_report *report) {
    vmarena_text_hex(text, report->address);
    add(text, ", which no allocation returned");
    if (report->where[0] == '\0') return;
    add(text, " (in ");
    add(text, report->where);
    add(text, ")");
}

static void add_system_call(struct vmarena_text *text, const struct vmarena_report *report) {
    add(text, "by ");
    add(text, report->call_name);
    add(text, ": ");
    if (report->kind == VMARENA_REPORT_OVERRUN) {
        vmarena_text_count(text, report->length, "byte");
        add(text, " past the end of ");
        add_object(text, report);
    } else add_place(text, report);
}

static void add_access(struct vmarena_text *text, const struct vmarena_report *report) {
    add(text, access_names[report->access]);
    if (report->call == VMARENA_FOUND_IN_SYSTEM_CALL) {
        add(text, " ");
        add_system_call(text, report);
    } else if (report->has_object && report->kind <= VMARENA_REPORT_USE_AFTER_FREE) {
        add(text, " ");
        add_place(text, report);
    } else {
        add(text, " at ");
        vmarena_text_hex(text, report->address);
    }
}

static void add_headline(struct vmarena_text *text, const struct vmarena_report *report) {
    add(text, kind_names[report->kind]);
    add(text, ": ");
    switch (report->kind) {
    case VMARENA_REPORT_DOUBLE_FREE: add_object(text, report); break;
    case VMARENA_REPORT_INVALID_FREE: add_pointer(text, report); break;
    case VMARENA_REPORT_INTERIOR_FREE: add_place(text, report); break;
    case VMARENA_REPORT_SLACK_BEFORE:
    case VMARENA_REPORT_SLACK_AFTER: add_slack(text, report); break;
    case VMARENA_REPORT_SIZE_MISMATCH: add_mismatch(text, report, "size ", report->size); break;
    case VMARENA_REPORT_ALIGN_MISMATCH: add_mismatch(text, report, "alignment ", report->align); break;
    case VMARENA_REPORT_UNNAMED_ACCESS:
        add(text, "at an address that no program can have, or by an instruction whose operand is not aligned");
        break;
    default: add_access(text, report); break;
    }
    if (report->call == VMARENA_FOUND_IN_REALLOC && report->kind != VMARENA_REPORT_SLACK_BEFORE &&
        report->kind != VMARENA_REPORT_SLACK_AFTER)
        add(text, ", in realloc");
}

#define HEADLINE 512 /* bytes, of which the name of a mapping takes at most VMARENA_REPORT_PATH */

void vmarena_report_headline(const struct vmarena_report *report, char *line, size_t size) {
    struct vmarena_text text = {.start = line, .size = size};
    add_headline(&text, report);
    vmarena_text_end(&text);
}

/* ---- stacks ---- */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static const char *module_of(const struct vmarena_report *report, const struct vmarena_report_frame *frame) {
    return frame->module == 0 ? NULL : report->module[frame->module - 1];
}

static void add_module(struct vmarena_text *text, const struct vmarena_report *report,
                       const struct vmarena_report_frame *frame) {
    const char *module = module_of(report, frame);
    add(text, "(");
    if (module != NULL) {
        add_foreign(text, base_name(module));
        add(text, "+");
        vmarena_text_hex(text, frame->offset);
    } else vmarena_text_hex(text, frame->pc);
    add(text, ")");
}

static void add_name(struct vmarena_text *text, const struct vmarena_name *name) {
    add_foreign(text, name->function != NULL ? name->function : "?");
    if (name->file == NULL) {
        if (name->function != NULL && name->offset != 0) {
            add(text, "+");
            vmarena_text_hex(text, name->offset);
        }
        return;
    }
    add(text, " at ");
    add_foreign(text, base_name(name->file));
    add(text, ":");
    vmarena_text_decimal(text, name->line);
}

static unsigned resolve(const struct vmarena_report *report, const struct vmarena_report_frame *frame,
                        const struct vmarena_report_style *style, const struct vmarena_name **names) {
    return style->resolve == NULL ? 0 : style->resolve(report, frame, names, style->arg);
}

static void add_stack(struct vmarena_text *text, const struct vmarena_report *report,
                      const struct vmarena_report_stack *stack, const struct vmarena_report_style *style) {
    if (stack->count == 0) add(text, "    (no stack)\n");
    for (uint64_t i = 0; i < stack->count; i++) {
        const struct vmarena_name *names = NULL;
        unsigned count = resolve(report, &stack->frames[i], style, &names);
        for (unsigned n = 0; n < count; n++) {
            add(text, "    ");
            add_name(text, &names[n]);
            add(text, n + 1 < count ? " [inlined]\n" : " ");
        }
        if (count == 0) add(text, "    ");
        add_module(text, report, &stack->frames[i]);
        add(text, "\n");
    }
}

/* ---- the picture ---- */

enum part { NOT_READABLE, OUTSIDE, SLACK, OBJECT };

static enum part part_of(const struct vmarena_report *report, size_t i) {
    uint64_t at = report->window + i;
    if (!report->readable[i]) return NOT_READABLE;
    if (at - report->object < report->size) return OBJECT;
    if (report->object - at <= report->slack_before) return SLACK;
    if (at - (report->object + report->size) < report->slack_after) return SLACK;
    return OUTSIDE;
}

static void add_byte(struct vmarena_text *text, const struct vmarena_report *report, size_t i, bool colour) {
    uint64_t at = report->window + i;
    enum part part = part_of(report, i);
    bool bad = at == report->address, after_bad = at == report->address + 1 && i % 16 != 0;
    vmarena_text_char(text, bad ? '[' : after_bad ? ']' : at == report->object && i % 16 != 0 ? '|' : ' ');
    if (colour) add(text, bad ? RED : part == OBJECT ? GREEN : part == SLACK ? YELLOW : "");
    if (part == NOT_READABLE) add(text, "--");
    else vmarena_text_digits(text, report->bytes[i], 2);
    if (colour) add(text, PLAIN);
    if (bad && i % 16 == 15) vmarena_text_char(text, ']');
}

static void add_letters(struct vmarena_text *text, const struct vmarena_report *report, size_t row) {
    add(text, "  ");
    for (size_t i = row; i < row + 16; i++) {
        uint8_t byte = report->bytes[i];
        vmarena_text_char(text, !report->readable[i] ? ' ' : byte >= 0x20 && byte < 0x7f ? (char)byte : '.');
    }
}

static void add_picture(struct vmarena_text *text, const struct vmarena_report *report, bool colour) {
    bool any = false;
    for (size_t i = 0; i < report->window_length; i++) any |= report->readable[i] != 0;
    if (!any) return;
    add(text, "  bytes around it (-- cannot be accessed):\n");
    for (size_t row = 0; row + 16 <= report->window_length; row += 16) {
        add(text, "    ");
        vmarena_text_hex(text, report->window + row);
        add(text, " ");
        for (size_t i = row; i < row + 16; i++) add_byte(text, report, i, colour);
        if (report->address != report->window + row + 15) vmarena_text_char(text, ' ');
        add_letters(text, report, row);
        add(text, "\n");
    }
    if (report->length == 0 || report->kind < VMARENA_REPORT_SLACK_BEFORE) return;
    if (report->kind > VMARENA_REPORT_SLACK_AFTER) return;
    add(text, "    found 0x");
    vmarena_text_digits(text, report->found, 2);
    add(text, " where the pattern has 0x");
    vmarena_text_digits(text, report->expected, 2);
    add(text, "\n");
}

/* ---- all of it ---- */

static void add_thread(struct vmarena_text *text, uint32_t thread) {
    add(text, " by thread ");
    vmarena_text_decimal(text, thread);
}

static void add_age(struct vmarena_text *text, uint64_t then, uint64_t now) {
    if (then == 0 || now < then) return;
    add(text, ", ");
    vmarena_text_count(text, now - then, "allocation");
    add(text, " ago");
}

static void add_facts(struct vmarena_text *text, const struct vmarena_report *report) {
    add(text, "  object of ");
    vmarena_text_count(text, report->size, "byte");
    add(text, " at ");
    vmarena_text_hex(text, report->object);
    add(text, ", aligned to ");
    vmarena_text_decimal(text, report->align);
    if (report->slack_after != 0 && !report->freed) {
        add(text, ", ");
        vmarena_text_count(text, report->slack_after, "byte");
        add(text, " of slack behind it");
    }
    add(text, "\n");
}

static void add_history(struct vmarena_text *text, const struct vmarena_report *report,
                        const struct vmarena_report_style *style) {
    add_facts(text, report);
    add(text, "  allocated");
    add_thread(text, report->alloc_thread);
    add_age(text, report->alloc_number, report->now_number);
    add(text, ":\n");
    add_stack(text, report, &report->alloc_stack, style);
    if (!report->freed) return;
    add(text, "  freed");
    add_thread(text, report->free_thread);
    add_age(text, report->free_number, report->now_number);
    add(text, ":\n");
    add_stack(text, report, &report->free_stack, style);
}

void vmarena_report_text(struct vmarena_text *text, const struct vmarena_report *report,
                         const struct vmarena_report_style *style) {
    char line[HEADLINE];
    vmarena_report_headline(report, line, sizeof line);
    add(text, style->colour ? BOLD "vmarena guard: " RED : "vmarena guard: ");
    add_foreign(text, line);
    if (style->colour) add(text, PLAIN);
    add(text, "\n  in ");
    add_foreign(text, report->program);
    add(text, ", process ");
    vmarena_text_decimal(text, report->process);
    if (report->kind != VMARENA_REPORT_UNNAMED_ACCESS) {
        add(text, ", at ");
        vmarena_text_hex(text, report->address);
    }
    add(text, report->call == VMARENA_FOUND_AT_ACCESS ? ", accessed" : ", found");
    add_thread(text, report->thread);
    add(text, ":\n");
    add_stack(text, report, &report->access_stack, style);
    if (report->has_object) {
        add_history(text, report, style);
        add_picture(text, report, style->colour);
    }
}

/* ---- JSON ---- */

static void first_key(struct vmarena_text *text, const char *name) {
    add(text, "{");
    vmarena_escape_json(text, name);
    add(text, ":");
}

static void key(struct vmarena_text *text, const char *name) {
    add(text, ",");
    vmarena_escape_json(text, name);
    add(text, ":");
}

static void address(struct vmarena_text *text, uint64_t value) {
    add(text, "\"");
    vmarena_text_hex(text, value);
    add(text, "\"");
}

static void key_text(struct vmarena_text *text, const char *name, const char *value) {
    key(text, name);
    vmarena_escape_json(text, value);
}

static void key_number(struct vmarena_text *text, const char *name, uint64_t value) {
    key(text, name);
    vmarena_text_decimal(text, value);
}

static void key_signed(struct vmarena_text *text, const char *name, int64_t value) {
    key(text, name);
    if (value < 0) add(text, "-");
    vmarena_text_decimal(text, magnitude(value));
}

/* Addresses as strings: a JSON number may lose bits beyond 2^53 (RFC 8259, 6). */
static void key_address(struct vmarena_text *text, const char *name, uint64_t value) {
    key(text, name);
    address(text, value);
}

static void json_frame(struct vmarena_text *text, const struct vmarena_report *report,
                       const struct vmarena_report_frame *frame, const struct vmarena_name *name) {
    first_key(text, "pc");
    address(text, frame->pc);
    if (name != NULL && name->function != NULL) key_text(text, "function", name->function);
    if (name != NULL && name->file != NULL) {
        key_text(text, "file", name->file);
        key_number(text, "line", name->line);
    }
    if (module_of(report, frame) != NULL) {
        key_text(text, "module", module_of(report, frame));
        key_address(text, "offset", frame->offset);
    }
    add(text, "}");
}

static void json_stack(struct vmarena_text *text, const char *name, const struct vmarena_report *report,
                       const struct vmarena_report_stack *stack, const struct vmarena_report_style *style) {
    key(text, name);
    add(text, "[");
    for (uint64_t i = 0; i < stack->count; i++) {
        const struct vmarena_name *names = NULL;
        unsigned count = resolve(report, &stack->frames[i], style, &names);
        for (unsigned n = 0; n < count || n == 0; n++) {
            if (i + n > 0) add(text, ",");
            json_frame(text, report, &stack->frames[i], n < count ? &names[n] : NULL);
        }
    }
    add(text, "]");
}

static void json_object(struct vmarena_text *text, const struct vmarena_report *report) {
    key(text, "object");
    first_key(text, "address");
    address(text, report->object);
    key_number(text, "size", report->size);
    key_number(text, "align", report->align);
    key_text(text, "state", report->freed ? "freed" : "live");
    key_number(text, "slack_before", report->slack_before);
    key_number(text, "slack_after", report->slack_after);
    key_number(text, "allocated_by", report->alloc_thread);
    if (report->alloc_number != 0) key_number(text, "allocations_since", report->now_number - report->alloc_number);
    if (report->freed) key_number(text, "freed_by", report->free_thread);
    add(text, "}");
}

void vmarena_report_json(struct vmarena_text *text, const struct vmarena_report *report,
                         const struct vmarena_report_style *style) {
    char line[HEADLINE];
    vmarena_report_headline(report, line, sizeof line);
    first_key(text, "kind");
    vmarena_escape_json(text, kind_names[report->kind]);
    key_text(text, "text", line);
    key_text(text, "found", call_names[report->call]);
    if (report->call == VMARENA_FOUND_IN_SYSTEM_CALL) key_text(text, "system_call", report->call_name);
    if (report->access != VMARENA_BY_UNKNOWN) key_text(text, "access", access_names[report->access]);
    if (report->kind != VMARENA_REPORT_UNNAMED_ACCESS) key_address(text, "address", report->address);
    if (report->has_object) key_signed(text, "distance", report->distance);
    if (report->length != 0) key_number(text, "length", report->length);
    key_text(text, "program", report->program);
    key_number(text, "process", report->process);
    key_number(text, "thread", report->thread);
    json_stack(text, "stack", report, &report->access_stack, style);
    if (report->has_object) {
        json_object(text, report);
        json_stack(text, "alloc_stack", report, &report->alloc_stack, style);
        if (report->freed) json_stack(text, "free_stack", report, &report->free_stack, style);
    }
    add(text, "}\n");
}
