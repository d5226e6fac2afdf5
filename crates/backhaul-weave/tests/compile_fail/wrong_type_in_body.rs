use backhaul_weave as weave;

#[weave::op]
fn answer(question: &str) -> usize {
    question
}

#[weave::op]
async fn answer_later(question: &str) -> usize {
    question
}

fn main() {
    answer("why");
    drop(answer_later("why"));
}
