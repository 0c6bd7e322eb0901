// What a kernel takes and gives: XLA's buffers under the names of our field.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "xla/ffi/api/ffi.h"

namespace lamina {

namespace ffi = xla::ffi;
using Array = ffi::Buffer<ffi::F32>;
using Lengths = ffi::Buffer<ffi::S32>;
using Result = ffi::ResultBuffer<ffi::F32>;
using Pool = ffi::ThreadPool;
using Status = ffi::Error;

// What XLA must hand over for a parameter of a kernel: arrays, results, the pool; all else is an attribute.
template <class T>
struct IsResult : std::false_type {};
template <class T>
struct IsResult<ffi::Result<T>> : std::true_type {
  using Array = T;
};
template <class T>
struct IsArray : std::false_type {};
template <ffi::DataType type, size_t rank>
struct IsArray<ffi::Buffer<type, rank>> : std::true_type {};

template <class Kernel, class Binding>
auto bound_rest(Kernel kernel, const char* const*, Binding&& binding) {
  return std::move(binding).To(kernel);
}
template <class First, class... Rest, class Kernel, class Binding>
auto bound_rest(Kernel kernel, const char* const* name, Binding&& binding) {
  if constexpr (std::is_same_v<First, Pool>)
    return bound_rest<Rest...>(kernel, name, std::move(binding).template Ctx<First>());
  else if constexpr (IsArray<First>::value)
    return bound_rest<Rest...>(kernel, name, std::move(binding).template Arg<First>());
  else if constexpr (IsResult<First>::value)
    return bound_rest<Rest...>(kernel, name,
                               std::move(binding).template Ret<typename IsResult<First>::Array>());
  else
    return bound_rest<Rest...>(kernel, name + 1, std::move(binding).template Attr<First>(*name));
}

// The handler that calls `kernel`, as its signature says; `names` are those of its attributes, in order.
template <class... Parameters, class... Names>
auto bound(Status (*kernel)(Parameters...), Names... names) {
  constexpr size_t others =
      (0 + ... +
       size_t(std::is_same_v<Parameters, Pool> || IsArray<Parameters>::value || IsResult<Parameters>::value));
  static_assert(others + sizeof...(Names) == sizeof...(Parameters), "bound: a name for each attribute");
  const char* const given[] = {names..., nullptr};
  return bound_rest<Parameters...>(kernel, given, ffi::Ffi::Bind());
}

}  // namespace lamina

// Give a handler, as `bound` returns it, to Python under a name.
#define EXPORT(NAME, BOUND)                                                                         \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* NAME(XLA_FFI_CallFrame* frame) { \
    static const auto handler = BOUND;                                                              \
    return handler->Call(frame);                                                                    \
  }
