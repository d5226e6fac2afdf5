use backhaul_weave as weave;

#[weave::op]
struct Answer {
    text: String,
}

fn main() {
    let _ = Answer { text: String::new() }.text;
}
