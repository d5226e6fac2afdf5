use backhaul_weave as weave;

#[weave::op(skip(question, api_key), redact(password))]
fn answer(question: &str, (model, key): (&str, &str)) -> String {
    format!("{question} {model} {key}")
}

fn main() {
    answer("why", ("small", "secret"));
}
