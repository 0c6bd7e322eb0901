// What XLA hands to a kernel, made by hand: arrays, attributes, and a pool of threads of our own.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "xla/ffi/api/c_api.h"

namespace lamina::tests {

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

// Threads that take tasks in order, as XLA's do. `scheduled` counts all tasks ever given.
class Threads {
 public:
  explicit Threads(int count) {
    for (int i = 0; i < count; i++) threads_.emplace_back([this] { work(); });
  }
  ~Threads() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      over_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void schedule(XLA_FFI_Task* task, void* data) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      tasks_.push_back({task, data});
    }
    scheduled++;
    wake_.notify_one();
  }
  int64_t count() const { return int64_t(threads_.size()); }
  std::atomic<int64_t> scheduled{0};

 private:
  struct Task {
    XLA_FFI_Task* run;
    void* data;
  };
  void work() {
    for (;;) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return over_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const Task task = tasks_.front();
      tasks_.pop_front();
      lock.unlock();
      task.run(task.data);
    }
  }
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  bool over_ = false;
};

// The part of XLA's interface that kernels use; its context is our threads.
inline const XLA_FFI_Api* interface() {
  static const XLA_FFI_Api api = [] {
    XLA_FFI_Api made = {};
    made.struct_size = XLA_FFI_Api_STRUCT_SIZE;
    made.api_version = {XLA_FFI_Api_Version_STRUCT_SIZE, nullptr, XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR};
    made.XLA_FFI_Error_Create = [](XLA_FFI_Error_Create_Args* args) -> XLA_FFI_Error* {
      fail(args->message);
    };
    made.XLA_FFI_ThreadPool_Schedule = [](XLA_FFI_ThreadPool_Schedule_Args* args) -> XLA_FFI_Error* {
      reinterpret_cast<Threads*>(args->ctx)->schedule(args->task, args->data);
      return nullptr;
    };
    made.XLA_FFI_ThreadPool_NumThreads = [](XLA_FFI_ThreadPool_NumThreads_Args* args) -> XLA_FFI_Error* {
      *args->num_threads = reinterpret_cast<Threads*>(args->ctx)->count();
      return nullptr;
    };
    return made;
  }();
  return &api;
}

// The numbers that bfloat16 has are the upper halves of floats.
inline uint16_t upper_half(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return uint16_t(bits >> 16);
}
inline float widened(uint16_t half) {
  const uint32_t bits = uint32_t(half) << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

// Floats, some of which a kernel may take as bfloat16; an empty array may be of another type. `shape` as in
// NumPy.
struct Array {
  std::vector<int64_t> shape;
  std::vector<float> numbers;
  XLA_FFI_DataType type = XLA_FFI_DataType_F32;

  static Array of(std::vector<int64_t> shape, XLA_FFI_DataType type = XLA_FFI_DataType_F32) {
    int64_t count = 1;
    for (int64_t size : shape) count *= size;
    return {std::move(shape), std::vector<float>(count), type};
  }
  // The same with numbers in [-1, 1), other ones for each seed.
  static Array random(std::vector<int64_t> shape, uint32_t seed, XLA_FFI_DataType type) {
    Array made = of(std::move(shape), type);
    for (float& x : made.numbers) {
      x = float(int32_t(seed = seed * 1664525u + 1013904223u)) / 2147483648.0f;
      if (type == XLA_FFI_DataType_BF16) x = widened(upper_half(x));
    }
    return made;
  }
  float& operator[](int64_t i) { return numbers[i]; }
  float operator[](int64_t i) const { return numbers[i]; }
};

inline Array none(XLA_FFI_DataType type = XLA_FFI_DataType_F32) { return {{0}, {}, type}; }

// Attributes by name: numbers, flags, pairs.
struct Attributes {
  std::map<std::string, int64_t> numbers = {};
  std::map<std::string, bool> flags = {};
  std::map<std::string, std::vector<int64_t>> pairs = {};
};

// Call a kernel as XLA does.
inline void call(XLA_FFI_Handler* kernel, Threads& threads, std::vector<Array> arguments,
                 std::vector<Array*> results, Attributes attributes) {
  std::vector<XLA_FFI_Buffer> buffers;
  std::vector<void*> given, wanted;
  std::deque<std::vector<uint16_t>> halves;  // of each array in bfloat16
  const auto add = [&](Array& a) {
    void* data = a.numbers.data();
    if (a.type == XLA_FFI_DataType_BF16) {
      std::vector<uint16_t>& half = halves.emplace_back(a.numbers.size());
      std::transform(a.numbers.begin(), a.numbers.end(), half.begin(), upper_half);
      data = half.data();
    }
    buffers.push_back(
        {XLA_FFI_Buffer_STRUCT_SIZE, nullptr, a.type, data, int64_t(a.shape.size()), a.shape.data()});
  };
  for (Array& a : arguments) add(a);
  for (Array* a : results) add(*a);
  for (size_t i = 0; i < buffers.size(); i++) (i < arguments.size() ? given : wanted).push_back(&buffers[i]);
  std::vector<XLA_FFI_ArgType> given_types(given.size(), XLA_FFI_ArgType_BUFFER);
  std::vector<XLA_FFI_RetType> wanted_types(wanted.size(), XLA_FFI_RetType_BUFFER);

  struct Value {
    XLA_FFI_AttrType type;
    XLA_FFI_ByteSpan name;
    XLA_FFI_Scalar scalar;
    XLA_FFI_Array array;
  };
  std::map<std::string, Value> sorted;
  for (auto& [name, number] : attributes.numbers)
    sorted[name] = {XLA_FFI_AttrType_SCALAR, {}, {XLA_FFI_DataType_S64, &number}, {}};
  for (auto& [name, flag] : attributes.flags)
    sorted[name] = {XLA_FFI_AttrType_SCALAR, {}, {XLA_FFI_DataType_PRED, &flag}, {}};
  for (auto& [name, pair] : attributes.pairs)
    sorted[name] = {XLA_FFI_AttrType_ARRAY, {}, {}, {XLA_FFI_DataType_S64, pair.size(), pair.data()}};
  std::vector<XLA_FFI_AttrType> types;
  std::vector<XLA_FFI_ByteSpan*> names;
  std::vector<void*> values;
  for (auto& [name, value] : sorted) {
    value.name = {name.data(), name.size()};
    types.push_back(value.type), names.push_back(&value.name);
    const bool is_array = value.type == XLA_FFI_AttrType_ARRAY;
    values.push_back(is_array ? static_cast<void*>(&value.array) : &value.scalar);
  }
  XLA_FFI_CallFrame frame = {};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = interface();
  frame.ctx = reinterpret_cast<XLA_FFI_ExecutionContext*>(&threads);
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args = {XLA_FFI_Args_STRUCT_SIZE, nullptr, int64_t(given.size()), given_types.data(), given.data()};
  frame.rets = {XLA_FFI_Rets_STRUCT_SIZE, nullptr, int64_t(wanted.size()), wanted_types.data(),
                wanted.data()};
  frame.attrs = {
      XLA_FFI_Attrs_STRUCT_SIZE, nullptr, int64_t(sorted.size()), types.data(), names.data(), values.data()};
  if (kernel(&frame)) fail("a kernel returned an error");
  for (size_t i = results.size(); i-- > 0;)
    if (results[i]->type == XLA_FFI_DataType_BF16) {
      std::transform(halves.back().begin(), halves.back().end(), results[i]->numbers.begin(), widened);
      halves.pop_back();
    }
}

}  // namespace lamina::tests
