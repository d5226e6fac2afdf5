use backhaul_weave as weave;

unsafe extern "C" {
    #[weave::op]
    fn answer(question: i32) -> i32;
}

fn main() {}
