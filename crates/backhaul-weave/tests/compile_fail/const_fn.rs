use backhaul_weave as weave;

#[weave::op]
const fn answer() -> i32 {
    42
}

fn main() {
    answer();
}
