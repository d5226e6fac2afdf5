use backhaul_weave as weave;

#[weave::op(attributes(model))]
fn answer(question: &str) -> String {
    question.to_owned()
}

fn main() {
    answer("why");
}
