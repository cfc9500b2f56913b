# SPDX-License-Identifier: MIT
"""The interface in Python; test_raw.lua is the same in Lua."""
import os
import sys
import tempfile
import traceback

import vmarena_raw as raw


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"found {found!r}, expected {expected!r}")


def fails(sentence, function, *arguments):
    try:
        function(*arguments)
    except RuntimeError as error:
        if sentence not in str(error):
            raise AssertionError(f"{sentence!r} is not in {error}") from error
    else:
        raise AssertionError(f"no failure: {sentence!r}")


def fenced(name=None):
    options = raw.Options()
    options.fence = raw.FENCE_END
    options.name = name
    return raw.create(options)


def test_version_and_page_size():
    equal(raw.version(), f"{raw.VERSION_MAJOR}.{raw.VERSION_MINOR}.{raw.VERSION_PATCH}")
    equal(raw.page_size(), os.sysconf("SC_PAGE_SIZE"))
    equal(raw.page_round_up(1), raw.page_size())
    equal(raw.get_caps().page_size, raw.page_size())


def test_copy_past_the_end_reports_an_overrun_at_distance_1():
    arena = fenced("tokens")
    source, target = raw.alloc_zeroed(arena, 32, 1), raw.alloc(arena, 24, 1)
    fault = raw.Fault()
    equal(raw.copy(target, source, 25, fault), 24)
    equal(fault.kind, raw.FAULT_OVERRUN)
    equal(fault.access, raw.ACCESS_WRITE)
    equal(fault.distance, 1)
    equal(fault.object_size, 24)
    equal(fault.owner_name, "tokens")
    equal(raw.address(fault.object), raw.address(target))
    equal(raw.address(fault.address), raw.address(target) + 24)
    equal(raw.fault_describe(fault).split(" at ")[0], "overrun: write 1 byte past the end of a 24-byte object")
    raw.destroy(arena)


def test_numbers_and_bytes_go_through_memory():
    arena = fenced()
    target, fault = raw.alloc_zeroed(arena, 8, 8), raw.Fault()
    raw.write(target, 0xFEDCBA9876543210, 8, fault)
    equal(raw.read(target, 8, fault), 0xFEDCBA9876543210)
    raw.write(target, 0x1234, 2, None)
    equal(raw.read(target, 2, None), 0x1234)
    equal(raw.write_bytes(target, b"a\0b", fault), 3)
    equal(raw.read(raw.offset(target, 2), 1, fault), ord("b"))
    equal(fault.signo, 0)
    equal(raw.read(raw.offset(target, 8), 8, fault), 0)
    equal(fault.distance, 1)
    fails("a single access is of 1, 2, 4 or 8 bytes, not 3", raw.read, target, 3, fault)
    raw.destroy(arena)


def test_an_arena_rewinds_to_a_mark():
    arena = raw.create(None)
    raw.alloc(arena, 100, 1)
    mark = raw.get_mark(arena)
    raw.alloc(arena, 50, 1)
    equal(raw.get_info(arena).used, 150)
    equal(raw.rewind(arena, mark), 0)
    equal(raw.get_info(arena).used, 100)
    raw.destroy(arena)


def test_a_failure_is_an_error_with_the_librarys_sentence():
    arena = raw.create(None)
    fails("the alignment 3 is no power of two", raw.alloc, arena, 8, 3)
    fails("vmarena_protect_pop: no protection scope is open", raw.protect_pop, arena)
    equal(raw.last_error(), -22)
    raw.destroy(arena)


def test_a_second_free_in_a_heap_is_an_error():
    options = raw.HeapOptions()
    options.name = "nodes"
    heap = raw.heap_create(options)
    target = raw.heap_alloc(heap, 24, 8)
    equal(raw.heap_free(heap, target), 0)
    fails("double free: the 24-byte object at ", raw.heap_free, heap, target)
    equal(raw.get_heap_object(heap, target).state, raw.HEAP_FREED)
    equal(raw.get_heap_object(heap, raw.at(raw.page_size())), None)
    equal(raw.get_heap_stats(heap).errors, 1)
    equal(raw.HEAP_QUARANTINE_COUNT, 65536)
    fault = raw.Fault()
    equal(raw.fill(target, 0, 1, fault), 0)
    equal(fault.kind, raw.FAULT_USE_AFTER_FREE)
    raw.heap_destroy(heap)


def test_a_snapshot_brings_memory_back():
    arena = raw.create(None)
    target = raw.alloc_zeroed(arena, 8, 8)
    snapshot = raw.snapshot(arena, raw.TRACK_COMPARE)
    raw.write(target, 7, 8, None)
    equal(raw.restore(arena, snapshot), 0)
    equal(raw.read(target, 8, None), 0)
    equal(raw.get_snapshot_info(snapshot).restores, 1)
    raw.snapshot_free(snapshot)
    raw.destroy(arena)


def test_a_view_ends_at_its_guard():
    options = raw.ViewOptions()
    options.fence = raw.FENCE_END
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"abc")
        file.flush()
        view = raw.view_open(file.name, options)
    equal(view.size, 3)
    fault = raw.Fault()
    equal(raw.read(raw.offset(view.data, 2), 1, fault), ord("c"))
    raw.read(raw.offset(view.data, 3), 1, fault)
    equal(fault.distance, 1)
    equal(raw.get_view_info(view).copied, True)
    raw.view_close(view)
    fails("open: No such file", raw.view_open, "/nonexistent", None)


def test_a_mapping_names_the_arena_that_it_belongs_to():
    arena = fenced("mapped")
    mapping = raw.get_mapping(0, raw.address(raw.alloc(arena, 1, 1)))
    equal((mapping.owner, mapping.owner_name), (raw.OWNER_ARENA, "mapped"))
    raw.destroy(arena)


def test_a_result_is_freed_with_its_object():
    arena = raw.create(None)
    for result in (raw.get_caps(), raw.get_stats(arena), raw.get_mark(arena), raw.get_totals(0)):
        equal(result.thisown, True)
    equal(arena.thisown, False)
    raw.destroy(arena)


def test_a_failure_does_not_stick_to_later_calls():
    fails("open: No such", raw.view_open, "/nonexistent", None)
    equal(raw.address(raw.at(4096)), 4096)


def test_only_the_library_makes_handles():
    for handle in (raw.Arena, raw.View):
        try:
            handle()
        except AttributeError:
            continue
        raise AssertionError(f"{handle} can be created without the library")


def main():
    tests = [function for name, function in globals().items() if name.startswith("test_")]
    status = 0
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        verdict = "ok"
        try:
            test()
        except Exception:  # whatever it is, the test failed
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            verdict, status = "not ok", 1
        print(f"{verdict} {number} - {test.__name__.removeprefix('test_').replace('_', ' ')}")
    return status


sys.exit(main())
