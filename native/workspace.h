// Memory for what lies between the arguments and the results of a kernel, kept from call to call.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace lamina {

// Hands out pieces of memory that live as long as it does; one lives at a time in a thread.
//
// The memory is the calling thread's and is kept for its next call, since fresh memory costs a page
// fault for every 4096 bytes at first touch, which can take as long as the arithmetic.
class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;

  // Leaves one block as large as all that was taken.
  ~Workspace() {
    auto& blocks = this_threads();
    if (blocks.size() < 2) return;
    size_t total = 0;
    for (const Block& block : blocks) total += block.bytes;
    blocks.clear();
    blocks.emplace_back(total);
  }

  // `floats` numbers, aligned to a cache line, with anything in them.
  float* take(int64_t floats) {
    const size_t bytes = (size_t(floats) * sizeof(float) + LINE - 1) / LINE * LINE;
    auto& blocks = this_threads();
    if (blocks.empty() || used_ + bytes > blocks.back().bytes) {
      blocks.emplace_back(std::max(bytes, LEAST));
      used_ = 0;
    }
    float* piece = reinterpret_cast<float*>(static_cast<char*>(blocks.back().memory) + used_);
    used_ += bytes;
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
  static std::vector<Block>& this_threads() {
    static thread_local std::vector<Block> blocks;
    return blocks;
  }
  size_t used_ = 0;
};

}  // namespace lamina
