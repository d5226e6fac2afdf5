use backhaul_weave as weave;

#[weave::op]
async fn answer(question: &str) -> Result<i32, std::fmt::Error> {
    let answer: i32 = question.parse()?;
    Ok(answer)
}

fn main() {
    drop(answer("why"));
}
