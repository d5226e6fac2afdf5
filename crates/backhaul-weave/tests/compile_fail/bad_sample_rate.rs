use backhaul_weave as weave;

#[weave::op(sample_rate = 1.5)]
fn add(a: u8) -> u8 {
    a
}

fn main() {
    add(1);
}
