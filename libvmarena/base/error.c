/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "prim/prim.h"

static _Thread_local char sentence[384];
static _Thread_local int last_error;

const char *vmarena_explain(void) { return sentence; }

int vmarena_last_error(void) { return last_error; }

int vmarena_fail(int error, const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    errno = saved;
    last_error = error;
    return error;
}

/* 65530 as "65,530": the figures here are for people. */
static const char *grouped(size_t value, char text[32]) {
    char digits[24];
    int count = snprintf(digits, sizeof digits, "%zu", value), out = 0;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) text[out++] = ',';
        text[out++] = digits[i];
    }
    text[out] = '\0';
    return text;
}

/* A call that splits one mapping in three needs two entries more. */
#define NEARLY_FULL 3

int vmarena_fail_call(int error, const char *call, size_t bytes) {
    size_t used, limit;
    char a[32], b[32];
    if (error == -ENOMEM) {
        vmarena_prim_map_entries(&used, &limit);
        if (limit != 0 && used + NEARLY_FULL > limit)
            return vmarena_fail(error,
                                "%s: the process has %s of %s map entries; raise vm.max_map_count or use guard markers",
                                call, grouped(used, a), grouped(limit, b));
        return vmarena_fail(error,
                            "%s: out of memory or address space for %s bytes (a limit such as RLIMIT_AS, "
                            "RLIMIT_DATA or strict overcommit may be the reason)",
                            call, grouped(bytes, a));
    }
    return vmarena_fail(error, "%s of %s bytes: %s", call, grouped(bytes, a), strerror(-error));
}
