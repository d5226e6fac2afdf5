use backhaul_weave as weave;

#[weave::op(skip(key), redact(key))]
fn answer(question: &str, key: &str) -> String {
    format!("{question} {key}")
}

fn main() {
    answer("why", "secret");
}
