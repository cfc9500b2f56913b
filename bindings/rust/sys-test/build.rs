// SPDX-License-Identifier: MIT
//! Generates a C and a Rust file that compare sizes, offsets, signs, constants and function addresses.

fn main() {
    let mut generator = ctest::TestGenerator::new();
    generator
        .header("vmarena.h")
        .header("vmarena/heap.h")
        .header("vmarena/view.h")
        .include("../vmarena-sys/csrc/include")
        .define("_GNU_SOURCE", None);
    // The C headers have enums and structs by tag, and types of functions rather than of pointers to them.
    let is_enum = |name: &str| name.starts_with("vmarena_") && !name.ends_with("_fn") && name != "vmarena_heap";
    generator.alias_is_c_enum(is_enum);
    generator.rename_struct_ty(|name| name.starts_with("vmarena").then(|| format!("struct {name}")));
    // Opaque in C: it has no size.
    generator.skip_struct(|item| item.ident() == "vmarena_heap");
    generator.skip_alias(|alias| alias.ident().ends_with("_fn"));
    generator.rename_type(|name| name.ends_with("_fn").then(|| format!("{name} *")));
    generator.rename_fn(|function| function.link_name().map(str::to_owned));
    ctest::generate_test(&mut generator, "../vmarena-sys/src/lib.rs", "all.rs").expect("generated tests");
}
