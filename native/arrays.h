// What a kernel takes and gives: XLA's buffers under the names of our field.
#pragma once

#include "xla/ffi/api/ffi.h"

namespace lamina {

namespace ffi = xla::ffi;
using Array = ffi::Buffer<ffi::F32>;
using Lengths = ffi::Buffer<ffi::S32>;
using Result = ffi::ResultBuffer<ffi::F32>;
using Pool = ffi::ThreadPool;
using Status = ffi::Error;

}  // namespace lamina

// Give a bound handler to Python under a name.
#define EXPORT(NAME, BOUND)                                                                         \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* NAME(XLA_FFI_CallFrame* frame) { \
    static const auto handler = BOUND;                                                              \
    return handler->Call(frame);                                                                    \
  }
