//! What is set up of llama.cpp once for the process.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::LazyLock;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_sys_2::{GGML_LOG_LEVEL_ERROR, ggml_log_level, llama_log_set};

use crate::error::{LlmError, LlmErrorKind};

thread_local! {
    /// What llama.cpp said in this thread of what went wrong.
    static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

static BACKEND: LazyLock<Option<LlamaBackend>> = LazyLock::new(|| {
    log_to_tracing();
    LlamaBackend::init().ok()
});

/// llama.cpp, ready for use.
pub(super) fn backend() -> Result<&'static LlamaBackend, LlmError> {
    let failed = |message: &str| LlmError::new(LlmErrorKind::Engine, message);
    if let Some(feature) = missing_feature() {
        return Err(failed(&format!(
            "llama.cpp is built for processors with {feature}, which this one does not have or \
             allow: build with a level that it has, such as RUSTFLAGS=-Ctarget-cpu=x86-64-v2, \
             and never with target-cpu=native"
        )));
    }
    BACKEND
        .as_ref()
        .ok_or_else(|| failed("another part of this program has set llama.cpp up: only one can"))
}

/// Runs a function of llama.cpp, and gives what it said of what went wrong.
pub(super) fn with_errors<T>(run: impl FnOnce() -> T) -> (T, String) {
    ERRORS.take();
    let done = run();
    (done, ERRORS.take().join("; "))
}

#[expect(unsafe_code, reason = "llama.cpp writes to stderr unless it has a function to call")]
fn log_to_tracing() {
    // SAFETY: the function lives as long as the process, and looks at no data of ours.
    unsafe { llama_log_set(Some(log), ptr::null_mut()) }
}

#[expect(unsafe_code, reason = "a C string comes as a pointer")]
unsafe extern "C" fn log(level: ggml_log_level, text: *const c_char, _: *mut c_void) {
    // SAFETY: llama.cpp gives a C string that lives as long as the call.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let line = text.trim();
    // Progress is shown in dots.
    if line.bytes().all(|byte| byte == b'.') {
        return;
    }
    if level == GGML_LOG_LEVEL_ERROR {
        // A thread that ends has nobody left to ask.
        let _ = ERRORS.try_with(|errors| errors.borrow_mut().push(line.to_owned()));
    }
    tracing::debug!(target: "llama.cpp", "{line}");
}

/// What llama.cpp was built for and this processor lacks: it would be ended by a signal.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "llama.cpp alone knows what it was built for")]
fn missing_feature() -> Option<&'static str> {
    use llama_cpp_sys_2::{ggml_cpu_has_amx_int8, ggml_cpu_has_avx2, ggml_cpu_has_avx512};

    // SAFETY: these give constants.
    let built_for =
        unsafe { [ggml_cpu_has_amx_int8(), ggml_cpu_has_avx512(), ggml_cpu_has_avx2()] };
    // A processor may show AMX and not let a process use it, which cannot be asked.
    let has = [false, is_x86_feature_detected!("avx512f"), is_x86_feature_detected!("avx2")];
    let names = ["AMX", "AVX-512", "AVX2"];
    let mut features = built_for.into_iter().zip(has).zip(names);
    features.find_map(|((built_for, has), name)| (built_for != 0 && !has).then_some(name))
}

#[cfg(not(target_arch = "x86_64"))]
fn missing_feature() -> Option<&'static str> {
    None
}
