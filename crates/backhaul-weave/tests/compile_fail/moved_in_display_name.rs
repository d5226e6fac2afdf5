use backhaul_weave as weave;

#[weave::op(display_name = question)]
fn answer(question: String) -> usize {
    question.len()
}

fn main() {
    answer("why".to_owned());
}
