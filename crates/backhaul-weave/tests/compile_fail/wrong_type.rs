use backhaul_weave as weave;

#[weave::op]
fn add(a: u8) -> u8 {
    "no number"
}

#[weave::op]
async fn wait(a: u8) -> Result<u8, String> {
    a + 1
}

fn main() {
    add(1);
    drop(wait(1));
}
