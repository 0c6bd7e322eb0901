// Work split over the threads of XLA's own pool.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "xla/ffi/api/ffi.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lamina {

// While it lives, results too small for a normal float become zero in this thread: they cost a
// hundred times as long, and gradients that vanish over many steps get there.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | (uint64_t{1} << 24)));
  }
  ~FlushDenormals() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  uint64_t before_;
#endif
};

// Threads to use: the pool's, at most as many as the caller allows where that is not 0.
static inline int64_t thread_count(const xla::ffi::ThreadPool& pool, int64_t limit) {
  const int64_t threads = std::max<int64_t>(1, pool.num_threads());
  return limit > 0 ? std::min(limit, threads) : threads;
}

// Call f(0), ..., f(parts - 1), each once, on at most `threads` threads, this one and some of the pool's;
// return when all are done.
//
// Parts are claimed, not dealt out: this thread takes them too, and waits only for parts that some
// other thread has begun. So it ends even where the pool is busy, or is this thread's own.
template <class F>
static void parallel_for(xla::ffi::ThreadPool& pool, int64_t parts, int64_t threads, F f) {
  struct Job {
    std::function<void(int64_t)> part;
    int64_t parts;
    std::atomic<int64_t> claimed{0}, done{0};
    void work() {
      for (int64_t i; (i = claimed.fetch_add(1)) < parts;) {
        FlushDenormals flushed;
        part(i);
        done.fetch_add(1, std::memory_order_release);
      }
    }
  };
  auto job = std::make_shared<Job>();  // outlives this call in threads that come too late
  job->part = f;
  job->parts = parts;
  for (int64_t i = 1; i < std::min(parts, threads); i++) pool.Schedule([job] { job->work(); });
  job->work();
  for (int waited = 0; job->done.load(std::memory_order_acquire) < parts; waited++)
    if (waited > 20000) std::this_thread::yield();
}

// The same with one thread for each part.
template <class F>
static void parallel_for(xla::ffi::ThreadPool& pool, int64_t parts, F f) {
  parallel_for(pool, parts, parts, f);
}

// The rows [begin, end) of part `part` of `parts`, all about as many.
struct Rows {
  int64_t begin, end;
  Rows(int64_t rows, int64_t part, int64_t parts)
      : begin(rows * part / parts), end(rows * (part + 1) / parts) {}
  int64_t size() const { return end - begin; }
};

}  // namespace lamina
