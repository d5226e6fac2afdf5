use backhaul_weave as weave;

#[weave::op(skip_output, name = "answer", skip_output)]
fn answer(question: &str) -> String {
    question.to_owned()
}

fn main() {
    answer("why");
}
