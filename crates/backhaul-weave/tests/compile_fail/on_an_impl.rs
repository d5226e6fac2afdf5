use backhaul_weave as weave;

struct Model;

#[weave::op]
impl Model {
    fn answer(&self) -> i32 {
        42
    }
}

fn main() {
    Model.answer();
}
