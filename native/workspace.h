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
// Some of it is kept for later calls of any thread, since fresh memory costs a page fault for every 4096
// bytes at first touch, which can take as long as the arithmetic.
class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;

  // Leaves one block as large as all that was taken, unless too much is kept already.
  ~Workspace() {
    if (blocks_.empty() || APART) return;
    if (blocks_.size() > 1) {
      blocks_.clear();
      if (taken_ > MOST_KEPT) return;
      blocks_.emplace_back(std::max(taken_, LEAST));
    }
    kept().leave(std::move(blocks_.back()));
  }

  // `floats` numbers, aligned to a cache line, with anything in them.
  float* take(int64_t floats) {
    const size_t bytes = (size_t(floats) * sizeof(float) + LINE - 1) / LINE * LINE;
    if (APART) return static_cast<float*>(blocks_.emplace_back(bytes).memory);
    if (blocks_.empty()) kept().give(bytes, blocks_);
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
  static constexpr size_t LINE = 64, LEAST = 1 << 20, MOST_KEPT = 64 << 20;
  // Each piece a block of its own, so that AddressSanitizer sees what goes beyond one.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool APART = true;
#else
  static constexpr bool APART = false;
#endif
  struct Block {
    void* memory;
    size_t bytes;
    explicit Block(size_t size) : memory(std::aligned_alloc(LINE, size)), bytes(size) {
      if (!memory) throw std::bad_alloc();
    }
    Block(Block&& other) noexcept : memory(other.memory), bytes(other.bytes) { other.memory = nullptr; }
    Block& operator=(Block&& other) noexcept {
      std::swap(memory, other.memory), std::swap(bytes, other.bytes);
      return *this;
    }
    ~Block() { std::free(memory); }
  };
  struct Kept {
    std::mutex mutex;
    std::vector<Block> blocks;
    size_t bytes = 0;

    void leave(Block block) {
      const std::lock_guard<std::mutex> lock(mutex);
      if (bytes + block.bytes > MOST_KEPT) return;
      bytes += block.bytes;
      blocks.push_back(std::move(block));
    }

    // The smallest that has room for so much, or the largest: a small call leaves large ones to others.
    void give(size_t wanted, std::vector<Block>& to) {
      const std::lock_guard<std::mutex> lock(mutex);
      auto best = blocks.begin();
      for (auto it = blocks.begin(); it != blocks.end(); it++) {
        const bool has_room = best->bytes >= wanted;
        if (has_room ? it->bytes >= wanted && it->bytes <= best->bytes : it->bytes > best->bytes) best = it;
      }
      if (best == blocks.end()) return;
      bytes -= best->bytes;
      to.push_back(std::move(*best));
      blocks.erase(best);
    }
  };
  static Kept& kept() {
    static Kept* const all = new Kept;  // never destroyed: threads may outlive the library's end
    return *all;
  }
  std::vector<Block> blocks_;
  size_t used_ = 0, taken_ = 0;  // of the last block, and of all
};

}  // namespace lamina
