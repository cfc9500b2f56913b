// SPDX-License-Identifier: MIT
//! The attribute `#[vmarena::test]`; use it through the crate `vmarena` with its feature `test`.
use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, TokenStream, TokenTree};

/// A test that a memory fault fails, with a report in words.
///
/// ```
/// # fn my_parser(_: &[u8]) {}
/// #[vmarena::test(b"", b"PNG", &vec![0; 100_000])]
/// fn reads_no_byte_too_many(input: &[u8]) {
///     my_parser(input);
/// }
/// ```
///
/// The function runs twice for each input: with the input's end against a guard page, and with its start. An input is any
/// expression whose type implements `vmarena::testing::Input`: slices, arrays, vectors and strings. The function takes
/// `&[T]`, `&mut [T]`, `&str` or `&vmarena::Fenced<_>`. Without inputs it takes no argument and runs once.
///
/// The test runs in a process of its own, so that a fault, an abort or a stack overflow ends only that process; its output
/// becomes the test's failure. If `VMARENA_TEST_HERE` is set in the environment, it runs in the test program itself, for
/// debuggers. `#[ignore]`, `#[should_panic]` and a result of type `Result<(), E>` work as with `#[test]`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match expand(&arguments, item) {
        Ok(tokens) => tokens,
        Err(message) => format!("::core::compile_error!({message:?});").parse().unwrap_or_default(),
    }
}

struct Function {
    attributes: TokenStream,
    name: Ident,
    takes_argument: bool,
    whole: TokenStream,
}

fn expand(arguments: &TokenStream, item: TokenStream) -> Result<TokenStream, String> {
    let function = parse(item)?;
    let inputs = split(arguments);
    match (inputs.is_empty(), function.takes_argument) {
        (true, true) => return Err("a test with an argument needs inputs: #[vmarena::test(b\"abc\")]".into()),
        (false, false) => return Err("a test with inputs takes one argument, such as input: &[u8]".into()),
        _ => {}
    }
    let Function { attributes, name, whole, .. } = function;
    let run = format!("::vmarena::testing::Outcome::check({name}());");
    let runs = if inputs.is_empty() {
        tokens(&run)
    } else {
        inputs.into_iter().flat_map(|input| run_with(input, &name)).collect()
    };
    let arguments = tokens(&format!("::core::module_path!(), ::core::stringify!({name}), ||"));
    let arguments = arguments.into_iter().chain([group(Delimiter::Brace, runs)]).collect();
    let call = tokens("::vmarena::testing::in_a_process_of_its_own").into_iter();
    let body = whole.into_iter().chain(call).chain([group(Delimiter::Parenthesis, arguments)]).collect();
    let head = tokens("#[::core::prelude::v1::test]").into_iter().chain(attributes);
    let signature = tokens(&format!("fn {name}()"));
    Ok(head.chain(signature).chain([group(Delimiter::Brace, body)]).collect())
}

/// The run of one input. The caller's tokens are kept, so that errors and stacks name their lines.
fn run_with(input: TokenStream, name: &Ident) -> TokenStream {
    let arguments = tokens(&format!(", {:?}, |input| {name}(input)", input.to_string()));
    let input = [TokenTree::Punct(Punct::new('&', Spacing::Alone)), group(Delimiter::Parenthesis, input)];
    let arguments = input.into_iter().chain(arguments).collect();
    let call = tokens("::vmarena::testing::on_both_sides").into_iter();
    call.chain([group(Delimiter::Parenthesis, arguments)]).chain(tokens(";")).collect()
}

fn tokens(text: &str) -> TokenStream {
    text.parse().expect("text that is made here is Rust")
}

fn group(delimiter: Delimiter, inner: TokenStream) -> TokenTree {
    TokenTree::Group(Group::new(delimiter, inner))
}

/// Splits the item. The attributes go to the test, and the function becomes an item inside of it.
fn parse(item: TokenStream) -> Result<Function, String> {
    let mut attributes = Vec::new();
    let mut tokens = item.into_iter().peekable();
    while matches!(tokens.peek(), Some(TokenTree::Punct(mark)) if mark.as_char() == '#') {
        attributes.extend(tokens.by_ref().take(2));
    }
    let rest: Vec<TokenTree> = tokens.collect();
    let is_fn = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn");
    let start = rest.iter().position(is_fn).ok_or("#[vmarena::test] is for functions")?;
    match (rest.get(start + 1), rest.get(start + 2)) {
        (Some(TokenTree::Ident(name)), Some(TokenTree::Group(parameters))) if is_parenthesised(parameters) => {
            Ok(Function {
                attributes: attributes.into_iter().collect(),
                name: name.clone(),
                takes_argument: !parameters.stream().is_empty(),
                whole: rest[start..].iter().cloned().collect(),
            })
        }
        _ => Err("#[vmarena::test] is for functions without type parameters".into()),
    }
}

fn is_parenthesised(group: &Group) -> bool {
    group.delimiter() == Delimiter::Parenthesis
}

/// The expressions between the commas.
fn split(arguments: &TokenStream) -> Vec<TokenStream> {
    let tokens: Vec<TokenTree> = arguments.clone().into_iter().collect();
    tokens
        .split(|token| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','))
        .map(|part| part.iter().cloned().collect::<TokenStream>())
        .filter(|part| !part.is_empty())
        .collect()
}
