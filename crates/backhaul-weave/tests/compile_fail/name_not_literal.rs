use backhaul_weave as weave;

const NAME: &str = "answer";

#[weave::op(name = NAME)]
fn answer(question: &str) -> String {
    question.to_owned()
}

fn main() {
    answer(NAME);
}
