// Memory for what lies between the arguments and the results of a kernel, kept from call to call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace lamina {

// Hands out pieces of memory that live as long as it does.
//
// The memory is kept for later calls of any thread, as few blocks as ever were in use at once, since fresh
// memory costs a page fault for every 4096 bytes at first touch, which can take as long as the arithmetic.
class Workspace {
 public:
  Workspace() {
    const std::lock_guard<std::mutex> lock(kept().mutex);
    auto& free = kept().blocks;
    if (free.empty()) return;
    blocks_.push_back(std::move(free.back()));  // the one used last
    free.pop_back();
  }
  Workspace(const Workspace&) = delete;

  // Leaves one block as large as all that was taken.
  ~Workspace() {
    if (blocks_.empty()) return;
    if (blocks_.size() > 1) {
      blocks_.clear();
      blocks_.emplace_back(std::max(taken_, LEAST));
    }
    const std::lock_guard<std::mutex> lock(kept().mutex);
    kept().blocks.push_back(std::move(blocks_.back()));
  }

  // `floats` numbers, aligned to a cache line, with anything in them.
  float* take(int64_t floats) {
    const size_t bytes = (size_t(floats) * sizeof(float) + LINE - 1) / LINE * LINE;
    if (blocks_.empty() || used_ + bytes > blocks_.back().bytes) {
      blocks_.emplace_back(std::max(bytes, LEAST));
      used_ = 0;
    }
    float* piece = reinterpret_cast<float*>(static_cast<char*>(blocks_.back().memory) + used_);
    used_ += bytes, taken_ += bytes;
    return piece;
  }

  // The same, all of them zero.
  float* take_zeros(int64_t floats) {
    float* piece = take(floats);
    std::fill_n(piece, floats, 0.0f);
    return piece;
  }

 private:
  static constexpr size_t LINE = 64, LEAST = 1 << 20;
  struct Block {
    void* memory;
    size_t bytes;
    explicit Block(size_t size) : memory(std::aligned_alloc(LINE, size)), bytes(size) {
      if (!memory) throw std::bad_alloc();
    }
    Block(Block&& other) noexcept : memory(other.memory), bytes(other.bytes) { other.memory = nullptr; }
    ~Block() { std::free(memory); }
  };
  struct Kept {
    std::mutex mutex;
    std::vector<Block> blocks;
  };
  static Kept& kept() {
    static Kept* const all = new Kept;  // never destroyed: threads may outlive the library's end
    return *all;
  }
  std::vector<Block> blocks_;
  size_t used_ = 0, taken_ = 0;  // of the last block, and of all
};

}  // namespace lamina
