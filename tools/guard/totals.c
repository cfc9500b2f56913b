/* SPDX-License-Identifier: MIT */
#include "totals.h"

/* A process that called execve(2) has figures for each of its programs, but is one process. */
static bool is_seen(const struct vmarena_channel *channel, uint32_t index) {
    for (uint32_t i = 0; i < index; i++)
        if (channel->figures[i].process == channel->figures[index].process) return true;
    return false;
}

void vmarena_totals_add_up(const struct vmarena_channel *channel, struct vmarena_totals_line *sum) {
    uint32_t taken = atomic_load(&channel->processes);
    uint32_t reports = atomic_load(&channel->reports);
    *sum = (struct vmarena_totals_line){
        .unrecorded = reports > VMARENA_CHANNEL_REPORTS ? reports - VMARENA_CHANNEL_REPORTS : 0,
        .processes = taken > VMARENA_CHANNEL_PROCESSES ? taken - VMARENA_CHANNEL_PROCESSES : 0,
    };
    for (uint32_t i = 0; i < taken && i < VMARENA_CHANNEL_PROCESSES; i++) {
        const struct vmarena_guard_figures *one = &channel->figures[i];
        sum->processes += !is_seen(channel, i);
        uint32_t kind = atomic_load(&one->guard_kind); /* whatever the program wrote there */
        if (kind <= VMARENA_GUARD_USERFAULT) sum->kinds[kind] = true;
        sum->guarded += atomic_load(&one->guarded);
        sum->unguarded += atomic_load(&one->unguarded);
        sum->unsampled += atomic_load(&one->unsampled);
        sum->failed += atomic_load(&one->failed);
        sum->repeated += atomic_load(&one->repeated);
        if (atomic_load(&one->live_peak) > sum->live_peak) sum->live_peak = atomic_load(&one->live_peak);
        if (atomic_load(&one->page_peak) > sum->page_peak) sum->page_peak = atomic_load(&one->page_peak);
    }
}

static void add_if(struct vmarena_text *text, uint64_t count, const char *words) {
    if (count == 0) return;
    vmarena_text_add(text, ", ");
    vmarena_text_grouped(text, count);
    vmarena_text_add(text, words);
}

static void add_kinds(struct vmarena_text *text, const struct vmarena_totals_line *sum) {
    static const char *const names[] = {NULL, "markers", "mprotect", "userfaultfd"};
    const char *before = " by ";
    for (size_t kind = VMARENA_GUARD_AUTO + 1; kind <= VMARENA_GUARD_USERFAULT; kind++) {
        if (!sum->kinds[kind]) continue;
        vmarena_text_add(text, before);
        vmarena_text_add(text, names[kind]);
        before = " and ";
    }
}

void vmarena_totals_text(struct vmarena_text *text, const struct vmarena_totals_line *sum,
                         const struct vmarena_tally *tally) {
    vmarena_text_add(text, "vmarena guard: ");
    vmarena_text_count(text, sum->guarded, "object");
    vmarena_text_add(text, " guarded");
    add_kinds(text, sum);
    vmarena_text_add(text, ", ");
    vmarena_text_grouped(text, sum->unguarded);
    vmarena_text_add(text, " unguarded");
    add_if(text, sum->unsampled, " not sampled");
    add_if(text, sum->failed, " refused");
    vmarena_text_add(text, ", peak ");
    vmarena_text_grouped(text, sum->live_peak);
    vmarena_text_add(text, " live in ");
    vmarena_text_bytes(text, sum->page_peak);
    vmarena_text_add(text, ", ");
    vmarena_text_count(text, tally->reported, "error");
    add_if(text, sum->repeated, " repeated");
    add_if(text, sum->unrecorded, " more places not recorded");
    add_if(text, tally->suppressed, " suppressed");
    add_if(text, tally->damaged, " damaged");
    if (sum->processes > 1) add_if(text, sum->processes, " processes");
    vmarena_text_char(text, '\n');
}

static void json_number(struct vmarena_text *text, const char *name, uint64_t value) {
    vmarena_text_add(text, ",\"");
    vmarena_text_add(text, name);
    vmarena_text_add(text, "\":");
    vmarena_text_decimal(text, value);
}

/* The names are those of --backend. */
static void json_kinds(struct vmarena_text *text, const struct vmarena_totals_line *sum) {
    static const char *const names[] = {NULL, "\"marker\"", "\"protect\"", "\"userfault\""};
    const char *before = "";
    vmarena_text_add(text, ",\"backends\":[");
    for (size_t kind = VMARENA_GUARD_AUTO + 1; kind <= VMARENA_GUARD_USERFAULT; kind++) {
        if (!sum->kinds[kind]) continue;
        vmarena_text_add(text, before);
        vmarena_text_add(text, names[kind]);
        before = ",";
    }
    vmarena_text_char(text, ']');
}

void vmarena_totals_json(struct vmarena_text *text, const struct vmarena_totals_line *sum,
                         const struct vmarena_tally *tally) {
    vmarena_text_add(text, "{\"kind\":\"totals\"");
    json_number(text, "guarded", sum->guarded);
    json_number(text, "unguarded", sum->unguarded);
    json_number(text, "not_sampled", sum->unsampled);
    json_number(text, "refused", sum->failed);
    json_number(text, "peak_live", sum->live_peak);
    json_number(text, "peak_bytes", sum->page_peak);
    json_number(text, "errors", tally->reported);
    json_number(text, "repeated", sum->repeated);
    json_number(text, "not_recorded", sum->unrecorded);
    json_number(text, "suppressed", tally->suppressed);
    json_number(text, "damaged", tally->damaged);
    json_number(text, "processes", sum->processes);
    json_kinds(text, sum);
    vmarena_text_add(text, "}\n");
}
