use backhaul_weave as weave;

#[weave::op(skip(question))]
fn answer() -> i32 {
    42
}

fn main() {
    answer();
}
