use backhaul_weave as weave;

#[weave::op(skip_all, redact(key))]
fn answer(question: &str, key: &str) -> String {
    format!("{question} {key}")
}

fn main() {
    answer("why", "secret");
}
