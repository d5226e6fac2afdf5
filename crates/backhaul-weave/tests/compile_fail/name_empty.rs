use backhaul_weave as weave;

#[weave::op(name = "")]
fn answer(question: &str) -> String {
    question.to_owned()
}

fn main() {
    answer("why");
}
