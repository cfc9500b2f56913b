// SPDX-License-Identifier: MIT
// The header in a program compiled with -fno-exceptions and -fno-rtti: results tell of failures, and the throwing names end the program.
#include "vmarena.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#ifdef __cpp_exceptions
#error "this is to be compiled without exceptions"
#endif
#ifdef __cpp_rtti
#error "this is to be compiled without RTTI"
#endif

static int failures = 0;

static void expect(bool so, const char *what) {
    if (so) return;
    std::fprintf(stderr, "not so: %s\n", what);
    failures++;
}

int main() {
    vmar::options wrong = {};
    wrong.flags = 1u << 31;
    expect(vmar::arena::make(wrong).code() == -EINVAL, "a wrong option is a result");
    auto arena = vmar::arena::make();
    expect(arena.has_value(), "an arena is a result");
    char *object = static_cast<char *>(arena->try_alloc(1, 1));
    expect(arena->try_protect(vmar::prot::read).has_value(), "protecting works");
    auto caught = arena->catch_fault([&] { *static_cast<volatile char *>(object) = 1; });
    expect(caught && caught->kind == VMARENA_FAULT_PROTECTED, "a fault is caught");
    expect(arena->try_protect(1u << 20).code() == -EINVAL, "a wrong protection is a result");

    vmar::arena_resource resource(*arena), same(*arena);
    expect(resource.is_equal(resource) && !resource.is_equal(same), "a resource is equal to itself");

    pid_t child = fork();
    if (child == 0) {
        arena->protect(1u << 20);
        _exit(0);
    }
    int status = 0;
    expect(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
           "a name that would throw aborts");
    return failures;
}
