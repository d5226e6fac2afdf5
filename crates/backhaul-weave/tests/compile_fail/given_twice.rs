use backhaul_weave as weave;

#[weave::op(skip_output, name = "add", skip_output)]
fn add(a: u8) -> u8 {
    a
}

fn main() {
    add(1);
}
