// SPDX-License-Identifier: MIT
// The program's lines of source on the stack of a fault that kills it: for test programs, see gtest.hpp. A handler below the
// library's, which has reported the object by then. It does what a handler must not do in a program that goes on: looks
// modules up, and runs addr2line(1), where there is one.
#ifndef VMARENA_CRASH_LINES_HPP
#define VMARENA_CRASH_LINES_HPP

#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <initializer_list>

namespace vmar::testing::detail {

constexpr int crash_frames = 32;

struct crash_actions {
    struct sigaction segv = {}, bus = {};
};
inline crash_actions earlier_actions;

// The words of a command line: a name, options, and addresses.
class addr2line_command {
  public:
    explicit addr2line_command(const char *program) {
        for (const char *word : {"addr2line", "-C", "-f", "-p", "-i", "-e", program}) add(word);
    }
    void add_address(std::uintptr_t address) {
        (void)std::snprintf(texts_[addresses_], sizeof texts_[0], "0x%jx", static_cast<std::uintmax_t>(address));
        add(texts_[addresses_++]);
    }
    bool is_empty() const { return addresses_ == 0; }
    // Its output goes to standard error.
    void run() {
        pid_t child = fork();
        if (child == 0) {
            (void)dup2(STDERR_FILENO, STDOUT_FILENO);
            (void)execvp(words_[0], const_cast<char *const *>(words_));
            _exit(127);
        }
        if (child > 0) (void)waitpid(child, nullptr, 0);
    }

  private:
    void add(const char *word) {
        words_[count_++] = word;
        words_[count_] = nullptr;
    }
    const char *words_[crash_frames + 9] = {};
    char texts_[crash_frames][24] = {};
    int count_ = 0, addresses_ = 0;
};

// Debug information counts addresses from where the file is loaded, but for programs that can be loaded at one place only.
inline std::uintptr_t in_file(const void *address, const void *base) {
    bool fixed = static_cast<const ElfW(Ehdr) *>(base)->e_type == ET_EXEC;
    return reinterpret_cast<std::uintptr_t>(address) - (fixed ? 0 : reinterpret_cast<std::uintptr_t>(base));
}

inline void print_crash_lines(int signo, siginfo_t *, void *) {
    void *frames[crash_frames];
    char program[4096] = "";
    Dl_info own, module;
    int count = backtrace(frames, crash_frames);
    if (readlink("/proc/self/exe", program, sizeof program - 1) > 0 && dladdr(frames[0], &own) != 0) {
        addr2line_command command(program);
        // The first frame is this function's; the faulting one is exact, and others' addresses are those of returns.
        for (int i = 1; i < count; i++)
            if (dladdr(frames[i], &module) != 0 && module.dli_fbase == own.dli_fbase)
                command.add_address(in_file(frames[i], own.dli_fbase) - (command.is_empty() ? 0 : 1));
        if (!command.is_empty()) command.run();
    }
    // Back to who would have had the signal: the access is tried again.
    (void)sigaction(signo, signo == SIGBUS ? &earlier_actions.bus : &earlier_actions.segv, nullptr);
}

// To be called before the library has its handlers, which pass on to those that were there before.
inline bool install_crash_lines() {
    struct sigaction action = {};
    void *frame = nullptr;
    (void)backtrace(&frame, 1); // loads what it needs now, not in the handler
    action.sa_sigaction = print_crash_lines;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    (void)sigemptyset(&action.sa_mask);
    return sigaction(SIGSEGV, &action, &earlier_actions.segv) == 0 &&
           sigaction(SIGBUS, &action, &earlier_actions.bus) == 0;
}

} // namespace vmar::testing::detail

#endif
