// SPDX-License-Identifier: MIT
//! Generates a C and a Rust file that compare sizes, offsets, signs, constants and function addresses.
//! The functions' parameters are the business of `tests/check_declarations`.

// In C without members: they have no size.
const OPAQUE: [&str; 3] = ["vmarena_heap", "vmarena_snapshot", "vmarena_counters"];

fn main() {
    let mut generator = ctest::TestGenerator::new();
    generator
        .header("vmarena.h")
        .header("vmarena/heap.h")
        .header("vmarena/view.h")
        .header("vmarena/snapshot.h")
        .header("vmarena/inspect.h")
        .include("../vmarena-sys/csrc/include")
        .define("_GNU_SOURCE", None);
    // The C headers have enums and structs by tag, and types of functions rather than of pointers to them.
    let is_enum = |name: &str| name.starts_with("vmarena_") && !name.ends_with("_fn") && !OPAQUE.contains(&name);
    generator.alias_is_c_enum(is_enum);
    generator.rename_struct_ty(|name| name.starts_with("vmarena").then(|| format!("struct {name}")));
    generator.skip_struct(|item| OPAQUE.contains(&item.ident()));
    generator.skip_alias(|alias| alias.ident().ends_with("_fn"));
    generator.rename_type(|name| name.ends_with("_fn").then(|| format!("{name} *")));
    generator.rename_fn(|function| function.link_name().map(str::to_owned));
    ctest::generate_test(&mut generator, "../vmarena-sys/src/lib.rs", "all.rs").expect("generated tests");
}
