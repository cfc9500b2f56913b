// SPDX-License-Identifier: MIT
// Every function that the preloaded malloc replaces, and C++'s new and delete behind them. `family`: all of it, done right.
// `family MISTAKE`: one thing done wrong, which is to be reported. Exits with 7, or aborts.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <new>
#include <string>

// In no header of the C library that they are tested on (glibc has the last two from 2.42 on).
extern "C" {
void cfree(void *pointer) __attribute__((weak));
void free_sized(void *pointer, size_t size) __attribute__((weak));
void free_aligned_sized(void *pointer, size_t align, size_t size) __attribute__((weak));
}

namespace {

// The compiler knows nothing of what comes out, so that no pair of calls is left out.
template <typename T> __attribute__((noinline)) T *pass(T *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

void must(bool good, const char *what) {
    if (good) return;
    printf("failed: %s\n", what);
    abort();
}

// Aligned, as large as asked for, to the byte, and writable.
void *checked(void *object, size_t size, size_t align, const char *what) {
    must(object != nullptr && reinterpret_cast<uintptr_t>(object) % align == 0, what);
    must(malloc_usable_size(object) == size, what);
    memset(object, 0x5a, size);
    return pass(object);
}

void one_of_each(size_t size) {
    void *object = nullptr;
    size_t page = 4096;
    free(checked(malloc(size), size, 16, "malloc"));
    free(checked(realloc(checked(malloc(size), size, 16, "malloc"), size + 1000), size + 1000, 16, "realloc"));
    free(checked(reallocarray(nullptr, 3, size), 3 * size, 16, "reallocarray"));
    free(checked(memalign(256, size), size, 256, "memalign"));
    free(checked(aligned_alloc(64, size), size, 64, "aligned_alloc"));
    must(posix_memalign(&object, 8192, size) == 0, "posix_memalign");
    free(checked(object, size, 8192, "posix_memalign"));
    free(checked(valloc(size), size, page, "valloc"));
    free(checked(pvalloc(size), (size + page - 1) / page * page, page, "pvalloc"));
    cfree(checked(malloc(size), size, 16, "malloc"));
    free_sized(checked(malloc(size), size, 16, "malloc"), size);
    free_sized(checked(calloc(1, size), size, 16, "calloc"), size);
    free_aligned_sized(checked(aligned_alloc(128, size), size, 128, "aligned_alloc"), 128, size);
}

void zeroed() {
    for (size_t size : {1u, 100u, 5000u}) {
        char *object = static_cast<char *>(pass(calloc(size, 3)));
        for (size_t i = 0; i < size * 3; i++) must(object[i] == 0, "calloc: not zero");
        free(object);
    }
}

void edges() {
    void *none = pass(malloc(0)), *other = pass(malloc(0));
    must(none != nullptr && none != other && malloc_usable_size(none) == 0, "malloc(0)");
    free(none);
    free(other);
    free(pass(static_cast<void *>(nullptr)));
    must(malloc_usable_size(nullptr) == 0, "malloc_usable_size(NULL)");
    must(realloc(pass(malloc(10)), 0) == nullptr, "realloc(p, 0) frees");
    volatile size_t half = SIZE_MAX / 2; // volatile: or the compiler warns
    errno = 0;
    must(reallocarray(nullptr, half, 3) == nullptr && errno == ENOMEM, "reallocarray overflows");
    errno = 0;
    must(calloc(half, 3) == nullptr && errno == ENOMEM, "calloc overflows");
    errno = 0;
    must(pass(malloc(half)) == nullptr && errno == ENOMEM, "malloc of more than there is");
    void *object = &object;
    must(posix_memalign(&object, 3, 1) == EINVAL && posix_memalign(&object, 4, 1) == EINVAL && object == &object,
         "posix_memalign: a bad alignment");
    errno = 5;
    free(pass(malloc(10)));
    must(errno == 5, "free leaves errno alone");
}

struct alignas(512) Wide {
    char bytes[512];
};

void in_cpp() {
    int *one = pass(new int(4)), *many = pass(new int[100]());
    must(*one == 4 && many[99] == 0 && malloc_usable_size(one) == sizeof(int), "new");
    delete one;
    delete[] many;
    Wide *wide = pass(new Wide), *more = pass(new Wide[3]);
    must(reinterpret_cast<uintptr_t>(wide) % 512 == 0 && reinterpret_cast<uintptr_t>(more) % 512 == 0, "aligned new");
    delete wide;
    delete[] more;
    volatile size_t half = SIZE_MAX / 2;
    must(pass(::operator new(half / 2, std::nothrow)) == nullptr, "new(nothrow)");
    try {
        (void)pass(::operator new(half / 2));
        must(false, "new must throw");
    } catch (const std::bad_alloc &) {}
    std::string text(1000, 'x');
    must((text + text).size() == 2000, "a string");
}

void mistake(const std::string &name) {
    if (name == "free_sized") free_sized(pass(malloc(40)), 41);
    else if (name == "free_aligned_sized") free_aligned_sized(pass(aligned_alloc(64, 128)), 128, 128);
    else if (name == "cfree") cfree(static_cast<char *>(pass(malloc(40))) + 8);
    else if (name == "delete") ::operator delete(static_cast<char *>(pass(::operator new(40))) + 8);
    else if (name == "memalign") static_cast<volatile char *>(pass(memalign(64, 128)))[128] = 1;
    else if (name == "new") static_cast<volatile char *>(pass(::operator new(40)))[48] = 1;
    else must(false, "no such mistake");
}

} // namespace

int main(int count, char **arguments) {
    if (count > 1) {
        mistake(arguments[1]);
        return 7;
    }
    for (size_t size : {1u, 7u, 16u, 100u, 4096u, 5000u, 100000u}) one_of_each(size);
    zeroed();
    edges();
    in_cpp();
    return 7;
}
