-- SPDX-License-Identifier: MIT
-- The interface in Lua; test_raw.py is the same in Python.
local raw = require("vmarena_raw")

local tests = {}
local function test(name, body) tests[#tests + 1] = {name = name, body = body} end

local function equal(found, expected)
    if found ~= expected then
        error(("found %s, expected %s"):format(tostring(found), tostring(expected)), 2)
    end
end

local function fails(sentence, ...)
    local succeeded, message = pcall(...)
    equal(succeeded, false)
    if not message:find(sentence, 1, true) then error(("%q is not in %q"):format(sentence, message), 2) end
end

local function fenced(name)
    local options = raw.Options()
    options.fence = raw.FENCE_END
    options.name = name
    return raw.create(options)
end

test("the version and the page size", function()
    equal(raw.version(), ("%d.%d.%d"):format(raw.VERSION_MAJOR, raw.VERSION_MINOR, raw.VERSION_PATCH))
    equal(raw.page_round_up(1), raw.page_size())
    equal(raw.get_caps().page_size, raw.page_size())
    equal(math.type(raw.page_size()), "integer")
end)

test("a copy past the end reports an overrun at distance 1", function()
    local arena = fenced("tokens")
    local source, object = raw.alloc_zeroed(arena, 32, 1), raw.alloc(arena, 24, 1)
    local fault = raw.Fault()
    equal(raw.copy(object, source, 25, fault), 24)
    equal(fault.kind, raw.FAULT_OVERRUN)
    equal(fault.access, raw.ACCESS_WRITE)
    equal(fault.distance, 1)
    equal(fault.object_size, 24)
    equal(fault.owner_name, "tokens")
    equal(raw.address(fault.object), raw.address(object))
    equal(raw.address(fault.address), raw.address(raw.offset(object, 24)))
    equal(raw.fault_describe(fault):match("^overrun: write 1 byte past the end of a 24%-byte object"),
        "overrun: write 1 byte past the end of a 24-byte object")
    raw.destroy(arena)
end)

test("numbers and bytes go through memory", function()
    local arena = fenced()
    local object, fault = raw.alloc_zeroed(arena, 8, 8), raw.Fault()
    raw.write(object, 0x7edcba9876543210, 8, fault)
    equal(raw.read(object, 8, fault), 0x7edcba9876543210)
    raw.write(object, 0x1234, 2, nil)
    equal(raw.read(object, 2, nil), 0x1234)
    equal(raw.write_bytes(object, "a\0b", fault), 3)
    equal(raw.read(raw.offset(object, 2), 1, fault), ("b"):byte())
    equal(fault.signo, 0)
    equal(raw.read(raw.offset(object, 8), 8, fault), 0)
    equal(fault.distance, 1)
    fails("a single access is of 1, 2, 4 or 8 bytes, not 3", raw.read, object, 3, fault)
    raw.destroy(arena)
end)

test("an arena rewinds to a mark", function()
    local arena = raw.create(nil)
    raw.alloc(arena, 100, 1)
    local mark = raw.get_mark(arena)
    raw.alloc(arena, 50, 1)
    equal(raw.get_info(arena).used, 150)
    equal(raw.rewind(arena, mark), 0)
    equal(raw.get_info(arena).used, 100)
    raw.destroy(arena)
end)

test("a failure is an error with the library's sentence", function()
    local arena = raw.create(nil)
    fails("the alignment 3 is no power of two", raw.alloc, arena, 8, 3)
    fails("vmarena_protect_pop: no protection scope is open", raw.protect_pop, arena)
    raw.destroy(arena)
end)

test("a second free in a heap is an error", function()
    local options = raw.HeapOptions()
    options.name = "nodes"
    local heap = raw.heap_create(options)
    local object = raw.heap_alloc(heap, 24, 8)
    equal(raw.heap_free(heap, object), 0)
    fails("double free: the 24-byte object at ", raw.heap_free, heap, object)
    equal(raw.get_heap_object(heap, object).state, raw.HEAP_FREED)
    equal(raw.get_heap_stats(heap).errors, 1)
    equal(raw.HEAP_QUARANTINE_COUNT, 65536)
    local fault = raw.Fault()
    equal(raw.fill(object, 0, 1, fault), 0)
    equal(fault.kind, raw.FAULT_USE_AFTER_FREE)
    raw.heap_destroy(heap)
end)

test("a snapshot brings memory back", function()
    local arena = raw.create(nil)
    local object = raw.alloc_zeroed(arena, 8, 8)
    local snapshot = raw.snapshot(arena, raw.TRACK_COMPARE)
    raw.write(object, 7, 8, nil)
    equal(raw.restore(arena, snapshot), 0)
    equal(raw.read(object, 8, nil), 0)
    equal(raw.get_snapshot_info(snapshot).restores, 1)
    raw.snapshot_free(snapshot)
    raw.destroy(arena)
end)

test("a view ends at its guard", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write("abc")
    file:close()
    local options = raw.ViewOptions()
    options.fence = raw.FENCE_END
    local view = raw.view_open(path, options)
    os.remove(path)
    equal(view.size, 3)
    local fault = raw.Fault()
    equal(raw.read(raw.offset(view.data, 2), 1, fault), ("c"):byte())
    raw.read(raw.offset(view.data, 3), 1, fault)
    equal(fault.distance, 1)
    equal(raw.get_view_info(view).copied, true)
    raw.view_close(view)
    fails("open: No such file", raw.view_open, "/nonexistent", nil)
end)

test("a mapping names the arena that it belongs to", function()
    local arena = fenced("mapped")
    local mapping = raw.get_mapping(0, raw.address(raw.alloc(arena, 1, 1)))
    equal(mapping.owner, raw.OWNER_ARENA)
    equal(mapping.owner_name, "mapped")
    raw.destroy(arena)
end)

print("1.." .. #tests)
local status = 0
for number, one in ipairs(tests) do
    local succeeded, message = pcall(one.body)
    if not succeeded then
        print("# " .. tostring(message))
        status = 1
    end
    print((succeeded and "ok " or "not ok ") .. number .. " - " .. one.name)
end
os.exit(status)
