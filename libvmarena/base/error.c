/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "prim/prim.h"

/* The calling thread's last failure. */
static _Thread_local struct {
    int error;
    char sentence[384];
    const char *call; /* the system call that the sentence is still to be made from; NULL: the sentence is made */
    size_t bytes;
} last;

int vmarena_last_error(void) { return last.error; }

int vmarena_fail(int error, const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(last.sentence, sizeof last.sentence, format, arguments);
    va_end(arguments);
    errno = saved;
    last.call = NULL;
    last.error = error;
    return error;
}

int vmarena_fail_call(int error, const char *call, size_t bytes) {
    last.error = error;
    last.call = call;
    last.bytes = bytes;
    return error;
}

/* Whether the process is so near its limit of map entries that a call could fail for it. A call that splits one mapping in
 * three needs two more; what the failed call had created by then has been undone. */
#define NEARLY_FULL 8

static bool lacks_map_entries(size_t *used, size_t *limit) {
    vmarena_prim_map_entries(used, limit);
    return *limit != 0 && *used + NEARLY_FULL > *limit;
}

/* ENOMEM means too many map entries as often as too little memory. */
static void add_shortage(struct vmarena_text *text) {
    size_t used, limit;
    vmarena_text_add(text, last.call);
    if (lacks_map_entries(&used, &limit)) {
        vmarena_text_add(text, ": the process has ");
        vmarena_text_grouped(text, used);
        vmarena_text_add(text, " of ");
        vmarena_text_grouped(text, limit);
        vmarena_text_add(text, " map entries; raise vm.max_map_count or use guard markers");
        return;
    }
    vmarena_text_add(text, ": out of memory or address space for ");
    vmarena_text_count(text, last.bytes, "byte");
    vmarena_text_add(text, " (a limit such as RLIMIT_AS, RLIMIT_DATA or strict overcommit may be the reason)");
}

static void add_call(struct vmarena_text *text) {
    vmarena_text_add(text, last.call);
    if (last.bytes != 0) vmarena_text_add(text, " of ");
    if (last.bytes != 0) vmarena_text_count(text, last.bytes, "byte");
    vmarena_text_add(text, ": ");
    vmarena_text_add(text, strerror(-last.error));
}

const char *vmarena_explain(void) {
    if (last.call != NULL) {
        int saved = errno;
        struct vmarena_text text = {.start = last.sentence, .size = sizeof last.sentence};
        if (last.error == -ENOMEM) add_shortage(&text);
        else add_call(&text);
        vmarena_text_end(&text);
        last.call = NULL;
        errno = saved;
    }
    return last.sentence;
}
