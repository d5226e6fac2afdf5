//! What the compiler says of `#[tool]`: of misuse at the token that is wrong, of good use nothing.

#[test]
fn misuse_is_told_at_the_token_that_is_wrong_and_good_use_compiles_without_a_warning() {
    // In one run: each takes another build of what they depend on.
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
    cases.pass("tests/compile_pass/*.rs");
}
