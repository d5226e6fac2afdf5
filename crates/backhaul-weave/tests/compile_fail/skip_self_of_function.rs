use backhaul_weave as weave;

#[weave::op(skip(self))]
fn answer(question: &str) -> String {
    question.to_owned()
}

fn main() {
    answer("why");
}
